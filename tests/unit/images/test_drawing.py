"""Can detections be seen on their image, whatever its size?"""

import cv2
import numpy as np
import pytest

from consumer.images.drawing import LARGEST, NARROWEST, SMALLEST, drawn, encoded
from consumer.messages import Detection

GRAY = 90
WHITE = 255


def plain(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), GRAY, np.uint8)


def detection(*box: float, class_id: int = 0, name: str = "scratch") -> Detection:
    return Detection(class_id, name, 0.9, (box[0], box[1], box[2], box[3]))


def changed(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], x: float, y: float) -> bool:
    return bool((picture[round(y), round(x)] != GRAY).any())


def test_a_box_is_drawn_at_its_edges_and_not_inside() -> None:
    image = plain(800, 600)

    picture = drawn(image, [detection(200, 150, 600, 450)])

    assert picture.shape == image.shape
    assert all(changed(picture, x, y) for x, y in ((200, 300), (600, 300), (400, 450), (400, 150), (600, 450)))
    assert not any(changed(picture, x, y) for x, y in ((400, 300), (180, 300), (620, 300), (400, 480)))
    assert (image == GRAY).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 48), (640, 480), (9000, 20), (20, 9000), (8300, 400)])
def test_a_label_has_room_whatever_the_size_of_the_image(width: int, height: int) -> None:
    names = ("dent", "missing hole " * 20)

    for name in names:
        picture = drawn(plain(width, height), [detection(0, 0, width, height, name=name)])

        assert min(picture.shape[:2]) >= NARROWEST
        assert SMALLEST <= max(picture.shape[:2]) <= LARGEST
        # The label of a box that fills the image lies inside, at the top left: its ground has the class's colour.
        assert (picture[:60, :60] == drawn_colour(0)).all(axis=2).sum() > 50
        assert not (picture[:, [0, -1]] == WHITE).all(axis=2).any(), "no letter is cut off"


def drawn_colour(class_id: int) -> tuple[int, int, int]:
    picture = drawn(plain(640, 640), [detection(100, 100, 600, 600, class_id=class_id)])
    blue, green, red = picture[350, 100].tolist()
    return blue, green, red


def test_classes_have_colours_of_their_own() -> None:
    assert len({drawn_colour(class_id) for class_id in range(12)}) == 12


def test_a_name_without_latin_letters_is_told_by_its_number() -> None:
    named, numbered = (drawn(plain(640, 480), [detection(50, 50, 90, 90, name=name)]) for name in ("漢字", "class 0"))

    assert (named == numbered).all()


@pytest.mark.parametrize("suffix", [".jpg", ".PNG", ".webp", ".tiff", ".bmp"])
def test_a_picture_is_a_file_of_its_suffix(suffix: str) -> None:
    picture = drawn(plain(640, 480), [])

    found = cv2.imdecode(np.frombuffer(encoded(picture, suffix), np.uint8), cv2.IMREAD_COLOR)

    assert found is not None
    assert np.abs(found.astype(int) - picture).max() < 3
