"""Which columns does an audit have, and of what kind? A column may be added; none ever changes its name or its type."""

import polars as pl

OUTCOMES_SCHEMA = "inspection.audit-outcomes/1"
JOBS_SCHEMA = "inspection.audit-jobs/1"

TIME = pl.Datetime("ms", "UTC")
DETECTION = pl.Struct(
    {
        "class_id": pl.Int32,
        "class_name": pl.String,
        "confidence": pl.Float64,
        "x1": pl.Float64,
        "y1": pl.Float64,
        "x2": pl.Float64,
        "y2": pl.Float64,
    }
)
HEADER = pl.Struct({"name": pl.String, "value": pl.Binary})

_RECORD: dict[str, pl.DataType | type[pl.DataType]] = {
    "topic": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "time": TIME,
    "record_key": pl.Binary,
}

OUTCOMES = pl.Schema(
    {
        **_RECORD,
        "kind": pl.String,
        "job_id": pl.String,
        "source_topic": pl.String,
        "source_partition": pl.Int32,
        "source_offset": pl.Int64,
        "source_index": pl.Int32,
        "source_time": TIME,
        "bucket": pl.String,
        "key": pl.String,
        "version_id": pl.String,
        "etag": pl.String,
        "sha256": pl.String,
        "bytes": pl.Int64,
        "width": pl.Int32,
        "height": pl.Int32,
        "model": pl.String,
        "model_sha256": pl.String,
        "task": pl.String,
        "engine": pl.String,
        "precision": pl.String,
        "image_size": pl.Int32,
        "shapes": pl.String,
        "decode": pl.String,
        "confidence_threshold": pl.Float64,
        "iou_threshold": pl.Float64,
        "max_detections": pl.Int32,
        "class_filter": pl.List(pl.Int32),
        "detections": pl.List(DETECTION),
        "classes": pl.List(pl.String),
        "count": pl.Int32,
        "top_confidence": pl.Float64,
        "result_id": pl.String,
        "queue_ms": pl.Float64,
        "fetch_ms": pl.Float64,
        "decode_ms": pl.Float64,
        "detect_ms": pl.Float64,
        "total_ms": pl.Float64,
        "host": pl.String,
        "version": pl.String,
        "metadata": pl.String,
        "reason": pl.String,
        "stage": pl.String,
        "attempts": pl.Int32,
        "retryable": pl.Boolean,
        "error_class": pl.String,
        "error_message": pl.String,
        "redriven": pl.Int32,
        "original": pl.Binary,
        "original_headers": pl.List(HEADER),
        "original_omitted": pl.Boolean,
    }
)
"""Results and dead letters alike; what one of the two has not is null. Boxes are absolute pixels of the oriented
original image; times are the records' own; `*_ms` are milliseconds."""

JOBS = pl.Schema(
    {
        **_RECORD,
        "jobs": pl.List(pl.Struct({"index": pl.Int32, "job_id": pl.String})),
        "skipped": pl.List(pl.String),
    }
)
"""One row for each record of the jobs topic, with the jobs that it opens and why its other events are none."""
