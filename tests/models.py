"""Which trained weights the tests run."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

# YOLO26n with its NMS-free head in the .onnx, both heads in the .pt; open to any size.
PARTS_PT = ROOT / "consumer" / "demo" / "weights" / "parts-yolo26n.pt"
PARTS_ONNX = PARTS_PT.with_suffix(".onnx")
# A model with a dense head alone.
DENSE_PT = ROOT / "tests" / "weights" / "parts-dense.pt"
DENSE_ONNX = DENSE_PT.with_suffix(".onnx")
# The same as exported by default: 320x320, one image a batch.
STATIC_ONNX = ROOT / "tests" / "weights" / "parts-dense-static.onnx"
