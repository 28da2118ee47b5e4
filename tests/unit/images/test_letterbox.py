"""The letterbox is Ultralytics' own, written in place."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from consumer.images.letterbox import PADDING, Boxes, Pixels, Shape, letterbox, shape_of

SIZES = [
    (640, 480), (480, 640), (640, 640), (1920, 1080), (1080, 1920), (641, 639), (333, 1000), (1000, 333), (1, 1),
    (1, 30000), (30000, 1), (3, 2000), (1001, 1000), (640, 224), (1000, 351), (999, 350), (5, 7), (4000, 3000),
]  # fmt: skip


def picture(width: int, height: int) -> Pixels:
    return np.random.default_rng(width * 31 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(pixels: Pixels, image_size: Shape, *, rectangular: bool, stride: int = 32) -> NDArray[np.uint8]:
    augment = pytest.importorskip("ultralytics.data.augment")
    boxed: NDArray[np.uint8] = augment.LetterBox(image_size, auto=rectangular, stride=stride)(image=pixels)
    return boxed


@pytest.mark.parametrize("rectangular", [False, True])
@pytest.mark.parametrize("image_size", [(640, 640), (320, 320), (384, 640)])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixels_equal_those_of_ultralytics(width: int, height: int, image_size: Shape, rectangular: bool) -> None:
    pixels = picture(width, height)
    slot = np.zeros((*shape_of(width, height, image_size=image_size, stride=32, rectangular=rectangular), 3), np.uint8)
    letterbox(pixels, slot, image_size=image_size)
    assert np.array_equal(slot, reference(pixels, image_size, rectangular=rectangular))


@pytest.mark.thorough
@settings(deadline=None, max_examples=200)
@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    image_size=st.sampled_from([(640, 640), (640, 384)]),
    rectangular=st.booleans(),
)
def test_boxes_come_back_as_ultralytics_brings_them(
    width: int, height: int, image_size: Shape, rectangular: bool
) -> None:
    ops = pytest.importorskip("ultralytics.utils.ops")
    slot = shape_of(width, height, image_size=image_size, stride=32, rectangular=rectangular)
    boxes = np.array([[0, 0, slot[1], slot[0]], [10.25, 20.5, 30.75, 40], [-5, -5, 900, 900]], np.float32)
    placement = letterbox(np.zeros((height, width, 3), np.uint8), np.empty((*slot, 3), np.uint8), image_size=image_size)
    ours = placement.to_image(boxes)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, ops.scale_boxes(slot, boxes.copy(), (height, width)), atol=1e-3, rtol=0)


def to_slot(boxes: Boxes, image: Shape, slot: Shape, image_size: Shape) -> Boxes:
    """Where `letterbox` puts boxes, by its own arithmetic."""
    gain = min(image_size[0] / image[0], image_size[1] / image[1])
    inner = max(round(image[0] * gain), 1), max(round(image[1] * gain), 1)
    scale = np.array([inner[1] / image[1], inner[0] / image[0]] * 2)
    offset = np.array([round((slot[1] - inner[1]) / 2 - 0.1), round((slot[0] - inner[0]) / 2 - 0.1)] * 2)
    moved: Boxes = (boxes * scale + offset).astype(np.float32)
    return moved


@settings(deadline=None)
@example(width=705, height=71, corners=[0.75, 0, 0, 0], rectangular=True)
@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    rectangular=st.booleans(),
)
def test_a_box_survives_the_round_trip_within_a_pixel_of_the_slot(
    width: int, height: int, corners: list[float], rectangular: bool
) -> None:
    image_size = (640, 640)
    boxes = (np.array([corners]) * [width, height, width, height]).astype(np.float32)
    slot = shape_of(width, height, image_size=image_size, stride=32, rectangular=rectangular)
    placement = letterbox(np.zeros((height, width, 3), np.uint8), np.empty((*slot, 3), np.uint8), image_size=image_size)
    back = placement.to_image(to_slot(boxes, (height, width), slot, image_size))
    pixel = max(width, height) / 640
    long, short = max(slot), min(slot)
    slots = 1 + long / (4 * short) if rectangular else 1  # see to_image: the scale is derived anew, of rounded sizes
    assert np.abs(back - boxes).max() <= pixel * slots + 1e-2


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1920, 1080), (30, 20)])
def test_nothing_of_the_former_image_is_left_in_the_slot(width: int, height: int) -> None:
    slab = np.full((3, 640, 640, 3), 200, np.uint8)
    letterbox(np.full((height, width, 3), 7, np.uint8), slab[1], image_size=(640, 640))
    assert set(np.unique(slab[1])) == {7, PADDING}
    assert set(np.unique(slab[[0, 2]])) == {200}


def test_the_slot_may_be_a_view_of_wider_rows() -> None:
    slab = np.full((400, 700, 3), 200, np.uint8)
    pixels = picture(1280, 720)
    letterbox(pixels, slab[8:392, 30:670], image_size=(640, 640))
    assert np.array_equal(slab[8:392, 30:670], reference(pixels, (640, 640), rectangular=True))
    assert (slab[:8] == 200).all()
    assert (slab[:, :30] == 200).all()


def test_a_square_or_static_slot_is_the_models_own() -> None:
    assert shape_of(1920, 1080, image_size=(640, 640), stride=32, rectangular=False) == (640, 640)
    assert shape_of(1920, 1080, image_size=(640, 640), stride=32, rectangular=True) == (384, 640)
    assert shape_of(30000, 1, image_size=(640, 640), stride=32, rectangular=True) == (32, 640)
