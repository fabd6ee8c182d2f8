"""Fair draws: every item once an epoch, a pure function of seed and step."""

import numpy as np
import pytest
import torch

from hackamore.training.draws import Draws

GROUPS = [np.array([0, 3, 4, 7, 9, 10, 11]), np.array([1, 2, 5]), np.array([6]), np.array([8, 12, 13, 14])]
COUNT = sum(map(len, GROUPS))


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_every_item_comes_once_an_epoch_of_its_group_and_groups_in_proportion(batch):
    streams = {k: [] for k in range(len(GROUPS))}
    for step in range(2 * COUNT):
        places = Draws(5, step, batch).places(GROUPS).tolist()
        (group,) = {k for k, members in enumerate(GROUPS) if set(places) <= set(members.tolist())}
        streams[group] += places
        for k, members in enumerate(GROUPS):
            share = len(members) / COUNT
            assert abs(len(streams[k]) / batch - (step + 1) * share) <= 1 + share * len(GROUPS)
    for k, members in enumerate(GROUPS):
        epochs = np.array(streams[k]).reshape(2 * batch, len(members))
        assert (np.sort(epochs, axis=1) == members).all()
    assert len({tuple(epoch) for epoch in np.array(streams[0]).reshape(-1, 7).tolist()}) > 1


def test_places_are_a_pure_function_of_seed_and_step_and_shared_by_processes():
    wanted = {step: Draws(7, step, 4).places(GROUPS) for step in range(40)}
    for step in (39, 0, 17, 17):
        assert torch.equal(Draws(7, step, 4).places(GROUPS), wanted[step])
        shares = [Draws(7, step, 4, rank, 2) for rank in (1, 0)]
        assert torch.equal(torch.cat([share.places(GROUPS) for share in shares[::-1]]), wanted[step])
        noise = [share.normal(2) for share in shares[::-1]]
        assert torch.equal(torch.cat(noise), Draws(7, step, 4).normal(2))
    assert any(not torch.equal(Draws(8, step, 4).places(GROUPS), places) for step, places in wanted.items())


def test_one_group_is_drawn_as_indices_are():
    group = [np.arange(12)]
    assert all(torch.equal(Draws(3, s, 5).places(group), Draws(3, s, 5).indices(12)) for s in range(30))
