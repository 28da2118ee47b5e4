"""Which errors of a device poison every later call of this process?"""

# What CUDA says of errors after which "the process must be terminated and relaunched" (the CUDA runtime's list of
# error types), by its texts: torch raises them as AcceleratorError, older versions as RuntimeError.
_LOST = (
    "uncorrectable ECC error",  # 214
    "uncorrectable NVLink error",  # 220
    "illegal memory access",  # 700
    "launch timed out",  # 702
    "context is destroyed",  # 709
    "device-side assert",  # 710
    "hardware stack error",  # 714
    "illegal instruction",  # 715
    "misaligned address",  # 716
    "operation not supported on global/shared address space",  # 717
    "invalid program counter",  # 718
    "unspecified launch failure",  # 719
    "CUDA error: unknown error",  # 999: the device fell off the bus
    "CUDA failure 999",  # the same as ONNX Runtime says it
)


def is_lost(error: BaseException) -> bool:
    """Whether the device answers nothing more in this process, whatever image it is given."""
    text = str(error)
    return any(words in text for words in _LOST)
