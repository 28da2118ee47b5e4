"""What runs models, and the only importer of their libraries."""

import os

# Importing onnxruntime tells its makers and leaves an id in the home folder, unless it was told before not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
