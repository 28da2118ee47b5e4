"""What runs models, and the only importer of their libraries."""

import os
import sys
from typing import Any, cast

# Importing openvino or nncf sends a message to their makers and writes an id to the home folder; without this package
# they cannot.
sys.modules["openvino_telemetry"] = cast(Any, None)
# Importing onnxruntime tells its makers and leaves an id in the home folder, unless it was told before not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
