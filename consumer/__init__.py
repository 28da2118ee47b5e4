"""Kafka-driven YOLO inference on images in S3: exactly one outcome per inspection job."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("inspection-consumer")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
