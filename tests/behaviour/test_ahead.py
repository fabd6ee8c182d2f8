"""What is encoded when it is first read is what is encoded before the first step."""

import torch

from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.worlds import write_worlds
from hackamore.training.caches import latents_of, texts_of


def test_lazily_read_rows_are_kept_and_equal_whatever_their_company(meadow, tmp_path):
    folder = write_worlds(tmp_path / "pairs", 6, 64, seed=400, workers=1)
    dataset = open_dataset(DataSettings(path=str(folder)), ["seg"], (64, 64))
    alone = [latents_of(dataset, meadow, folder=tmp_path / f"{k}", ahead=False).read([k]) for k in range(6)]
    lazy = latents_of(dataset, meadow, folder=tmp_path / "cache", ahead=False)
    together = lazy.read([5, 0, 3])
    assert torch.equal(together, torch.cat([alone[5], alone[0], alone[3]]))
    assert torch.equal(lazy.read([3]), alone[3])
    lazy.flush()
    again = latents_of(dataset, meadow, folder=tmp_path / "cache", ahead=False)
    assert len(again.shelf.missing([dataset.fingerprint(place) for place in range(6)])) == 3
    assert torch.equal(again.read([0, 3, 5]), torch.cat([alone[0], alone[3], alone[5]]))
    ahead = latents_of(dataset, meadow, folder=tmp_path / "all")
    torch.testing.assert_close(ahead.read([0, 3, 5]), again.read([0, 3, 5]), atol=2e-3, rtol=2e-3)

    texts = texts_of(dataset.captions, meadow, tmp_path / "cache", ahead=False)
    first = texts.read([1, 2])
    texts.flush()
    second = texts_of(dataset.captions, meadow, tmp_path / "cache", ahead=False)
    assert torch.equal(first.tokens, second.read([1, 2]).tokens)
