"""What several files of tests begin with."""

import pytest

from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from tests.layouts import SIZE, imagefolder


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    folder = imagefolder(tmp_path_factory.mktemp("wanted"))
    return open_dataset(DataSettings(path=str(folder), crops=2, flip=True, buckets=True), ["circle"], SIZE, multiple=8)
