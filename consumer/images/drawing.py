"""How do detections look on their image? Boxes and labels that can be read whatever the image's size."""

import colorsys
import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from consumer.images.decode import Pixels
from consumer.messages import Detection

SMALLEST, LARGEST = 640, 8192  # pixels of the picture's longer side; between them it has the image's
NARROWEST = 160  # pixels of its shorter side: gray fills up what a label needs
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_QUALITY = 92
_WHITE, _BLACK, _GRAY = (255, 255, 255), (0, 0, 0), (114, 114, 114)
_GOLDEN = 0.618034  # steps of hue that keep neighbouring class ids apart

Colour = tuple[int, int, int]  # blue, green, red


def drawn(pixels: Pixels, detections: Sequence[Detection]) -> Pixels:
    """A picture of the image with its detections: uint8 [height, width, 3] BGR from the same, which stays as it is.

    Small images are enlarged, huge ones reduced, narrow ones padded at the right or below. The surest detection is
    drawn last, so that its label covers others.
    """
    gain = _gain(*pixels.shape[:2])
    picture = _scaled(pixels, gain)
    unit = max(picture.shape[:2]) / SMALLEST  # how much of the picture a person sees as one pixel
    for detection in sorted(detections, key=lambda one: one.confidence):
        _draw(picture, detection, gain, unit)
    return picture


def shrunk(pixels: Pixels, longest: int) -> Pixels:
    """The image with a longer side of `longest` pixels at the most, itself where it is small enough: uint8
    [height, width, 3] BGR from the same."""
    gain = longest / max(pixels.shape[:2])
    height, width = (max(1, round(side * gain)) for side in pixels.shape[:2])
    small = pixels if gain >= 1 else cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def encoded(picture: Pixels, suffix: str) -> bytes:
    """The bytes of an image file; `suffix` is `.jpg`, `.png` or another one that OpenCV writes."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if suffix.lower() in {".jpg", ".jpeg"} else []
    _, content = cv2.imencode(suffix, picture, options)
    return content.tobytes()


def _gain(height: int, width: int) -> float:
    longest = max(height, width)
    return SMALLEST / longest if longest < SMALLEST else min(1.0, LARGEST / longest)


def _scaled(pixels: Pixels, gain: float) -> Pixels:
    height, width = (max(1, round(side * gain)) for side in pixels.shape[:2])
    how = cv2.INTER_CUBIC if gain > 1 else cv2.INTER_AREA
    picture = pixels if gain == 1 else cv2.resize(pixels, (width, height), interpolation=how)
    below, right = max(0, NARROWEST - height), max(0, NARROWEST - width)
    return np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_CONSTANT, value=_GRAY), np.uint8)


def _draw(picture: Pixels, detection: Detection, gain: float, unit: float) -> None:
    x1, y1, x2, y2 = (round(side * gain) for side in detection.box)
    colour = _colour(detection.class_id)
    line = max(2, round(2 * unit))
    cv2.rectangle(picture, (x1, y1), (x2, y2), _BLACK, line + 2)  # a rim, for images of the same colour
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, line)
    _write(picture, f"{_ascii(detection)} {detection.confidence:.2f}", (x1, y1), colour, unit)


def _write(picture: Pixels, text: str, corner: tuple[int, int], colour: Colour, unit: float) -> None:
    """Above the corner where there is room, else below it, and wholly inside of the picture."""
    height, width = picture.shape[:2]
    line = max(1, round(unit))
    scale = 0.45 * unit
    margin = round(4 * unit)
    (text_width, text_height), rest = cv2.getTextSize(text, _FONT, scale, line)
    if text_width + margin > width:
        scale *= (width - margin) / text_width
        (text_width, text_height), rest = cv2.getTextSize(text, _FONT, scale, line)
    box_width, box_height = text_width + margin, text_height + rest + margin
    left = min(max(0, corner[0]), width - box_width)
    top = corner[1] - box_height if corner[1] >= box_height else min(max(0, corner[1]), height - box_height)
    cv2.rectangle(picture, (left, top), (left + box_width, top + box_height), colour, cv2.FILLED)
    at = (left + margin // 2, top + margin // 2 + text_height)
    cv2.putText(picture, text, at, _FONT, scale, _ink(colour), line, cv2.LINE_AA)


def _ascii(detection: Detection) -> str:
    """OpenCV's own fonts have no other letters."""
    name = unicodedata.normalize("NFKD", detection.class_name).encode("ascii", "ignore").decode()
    return "".join(letter for letter in name if letter.isprintable()) or f"class {detection.class_id}"


def _colour(class_id: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN % 1, 0.85, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def _ink(colour: Colour) -> Colour:
    blue, green, red = colour
    return _BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else _WHITE
