"""Does every engine, precision, head and shape that this machine has find what `predict` finds?"""

import pytest

from consumer.errors import SettingsError
from tests.accuracy.matrix import Matrix, Way, ways

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(tmp_path_factory.mktemp("accuracy"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", tuple(ways()), ids=lambda way: way.id)
def test_what_is_found_is_what_predict_finds(matrix: Matrix, way: Way) -> None:
    try:
        found = matrix.agreement(way)
    except SettingsError as error:
        if way.precision == "f32":
            raise  # every machine has it
        pytest.skip(str(error))
    assert found.reference_detections > 20
    assert (found.matched or 0) >= way.bound.same
    assert (found.worst_iou or 0) >= way.bound.iou
    assert (found.largest_confidence_difference or 0) <= way.bound.confidence
