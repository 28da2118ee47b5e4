"""How Ultralytics' `.pt` weights run with torch, on a CPU or a CUDA device: the same code, another device and dtype."""
# ruff: noqa: E402  # ultralytics imports torch, and what must hold before that stands behind its door

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from consumer.detection import yolo

yolo.prepare()

import torch
from torch import Tensor, nn

from consumer.cores import available_cores
from consumer.detection.devices import is_lost
from consumer.detection.engine import Candidates, Model, Pixels
from consumer.detection.weights import Weights, check_facts, choose_head, input_size
from consumer.errors import EngineBroken, OutOfDeviceMemory, SettingsError
from consumer.settings import BatchingSettings, ModelSettings

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
OFFERED = {"cpu": ("f32", "bf16"), "cuda": ("f32", "f16", "bf16")}


class TorchEngine:
    """A network on one device. Batches are answered by threads named `torch`, as many as there are places."""

    def __init__(self, network: nn.Module, model: Model, *, max_batch: int) -> None:
        self.model = model
        self.max_batch = max_batch
        self._network = network
        self._device = torch.device(model.device)
        self._dtype = DTYPES[model.precision]
        self._on_cuda = self._device.type == "cuda"
        # On CUDA the next batch is prepared and enqueued while the device still computes the one before.
        self.places = 2 if self._on_cuda else 1
        self._enqueuing = threading.Lock()  # a network keeps the anchors of its last shape
        self._pool = ThreadPoolExecutor(self.places, thread_name_prefix="torch")

    def start(self, images: Pixels) -> Future[Candidates]:
        return self._pool.submit(self._answer, images)

    def close(self) -> None:
        self._pool.shutdown()

    def _answer(self, images: Pixels) -> Candidates:
        try:
            with torch.inference_mode(), self._enqueuing:
                candidates = self._enqueue(torch.from_numpy(images))
                done = torch.cuda.current_stream(self._device).record_event() if self._on_cuda else None
            if done is not None:
                done.synchronize()
        except torch.OutOfMemoryError as error:
            raise OutOfDeviceMemory(f"{len(images)} images do not fit on {self._device}: {error}") from error
        except RuntimeError as error:
            if is_lost(error):
                fact, *_ = str(error).splitlines()
                raise EngineBroken(f"{self._device} is lost to this process: {fact}") from error
            raise
        answer: Candidates = candidates.numpy()
        return answer

    def _enqueue(self, pixels: Tensor) -> Tensor:
        """uint8 [n, h, w, 3] BGR on the host → float32 [n, k, 6] on the host, complete once the stream is."""
        if self._on_cuda:
            pixels = pixels.pin_memory()
        pixels = pixels.to(self._device, non_blocking=True)
        images = pixels.flip(-1).permute(0, 3, 1, 2).to(self._dtype).div_(255)
        predictions = self._network(images)[0]
        rows = predictions if self.model.nms_free else _rows(predictions)
        return rows.to("cpu", non_blocking=True)


def _rows(predictions: Tensor) -> Tensor:
    """Dense [n, 4 + classes, k], boxes as centre and size → [n, k, 6], corners, best confidence and its class."""
    centre, size, scores = predictions[:, :2], predictions[:, 2:4], predictions[:, 4:]
    confidence, class_id = scores.max(dim=1, keepdim=True)
    half = size / 2
    rows = torch.cat((centre - half, centre + half, confidence, class_id.to(scores.dtype)), dim=1)
    return rows.transpose(1, 2).contiguous()


def load(
    weights: Weights, model: ModelSettings, batching: BatchingSettings, *, device: str, precision: str
) -> TorchEngine:
    """Build and warm the engine. Raises SettingsError for what cannot be run so."""
    device_type = torch.device(device).type
    if precision not in OFFERED[device_type]:
        offered = ", ".join(OFFERED[device_type])
        raise SettingsError(f"model.precision: {precision} is not offered by torch on {device_type}, only {offered}")
    network: Any = yolo.read(weights)
    facts = yolo.facts_of(network, weights)
    check_facts(weights, facts)
    has_nms_free, has_dense = yolo.heads_of(network)
    nms_free = choose_head(model.nms_free, weights, has_nms_free=has_nms_free, has_dense=has_dense)
    image_size = input_size(model, weights, facts)

    torch.set_num_threads(available_cores())
    torch.backends.cudnn.allow_tf32 = False  # else "f32" has the 10 bits of tf32 in convolutions
    network = _prepare(network, nms_free=nms_free, device=device, precision=precision, most=model.max_detections)
    engine = TorchEngine(
        network,
        Model(
            name=weights.name,
            sha256=weights.sha256,
            task=facts.task,
            class_names=facts.class_names,
            stride=facts.stride,
            image_size=image_size,
            static_batch=None,
            nms_free=nms_free,
            engine="torch",
            precision=_precision_of(network),
            device=device,
        ),
        max_batch=batching.max_batch,
    )
    # Memory and kernels of the largest batch are had now or never; a CPU has nothing to prepare but its caches.
    warm_batch = batching.max_batch if device_type == "cuda" else 1
    engine.start(torch.zeros((warm_batch, *image_size, 3), dtype=torch.uint8).numpy()).result()
    return engine


def _prepare(network: Any, *, nms_free: bool, device: str, precision: str, most: int) -> Any:
    """Choose the head, fuse, convert and move; boxes are decoded in float32 whatever the precision of the layers.

    Near pixel 640 float16 has steps of half a pixel, bfloat16 of four.
    """
    head = network.model[-1]
    network.end2end = nms_free
    head.max_det = max(most, 300)  # how many the NMS-free head gives, as in Ultralytics' predict
    network.fuse(verbose=False)
    network.requires_grad_(False)
    network.to(device=device, dtype=DTYPES[precision], memory_format=torch.channels_last)
    head.dfl.float()
    decode = head._inference

    def decode_in_f32(raw: dict[str, Any]) -> Any:
        like = [torch.zeros((), device=device).expand(feature.shape) for feature in raw["feats"]]  # for shape and dtype
        return decode({"boxes": raw["boxes"].float(), "scores": raw["scores"].float(), "feats": like})

    head._inference = decode_in_f32
    return network


def _precision_of(network: nn.Module) -> str:
    """Read back from the first convolution, which is what `precision` speaks of."""
    dtype = next(network.parameters()).dtype
    return next(name for name, value in DTYPES.items() if value == dtype)
