"""Layers that synchronize within groups of ranks, or once a step: four ranks beside one process."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.torch import batch_norm  # noqa: E402
from backnorm.torch.distributed import groups  # noqa: E402
from with_torch.distributed import modes  # noqa: E402
from with_torch.distributed.ranks import together  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

pytestmark = [
    needs_engine,
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
    ),
]

ELSEWHERE = "RankError: 1 other rank of the group could not compute this pass."
FAILED = "RankError: A pass of this rank has failed since the last merge_statistics: ShapeError: "


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of four ranks returns."""
    return together(modes.run, modes.RANKS, tmp_path_factory.mktemp("modes"), timeout=120.0)


def alone(case: modes.Case, part: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return y and dx of the engine in one process."""

    def call(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return batch_norm(x, None, None, training=True, sums="exact", mask=mask)

    return modes.normalized(call, part, case)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("case", modes.CASES, ids=str)
def test_running_statistics_are_those_of_all_ranks(
    ranks: list[dict[str, Any]], case: modes.Case, size: int
) -> None:
    """Bitwise those of one process with all samples, for any cut into ranks and micro-batches."""
    own = [found["step"][modes.CASES.index(case), size]["states"] for found in ranks[:size]]
    for step, want in enumerate(modes.joined(case)):
        for states in own:
            assert states[step]["num_batches_tracked"] == step + 1
            if case.dtype == torch.float64:  # one process adds float64 in another order
                torch.testing.assert_close(states[step]["running_var"], want["running_var"])
            else:
                assert all(torch.equal(states[step][name], v) for name, v in want.items()), step


def test_float64_has_the_same_bits_on_any_number_of_ranks(ranks: list[dict[str, Any]]) -> None:
    """Of one rank, too."""
    at = next(k for k, case in enumerate(modes.CASES) if case.dtype == torch.float64)
    found = [rank["step"][at, size]["states"] for size in (1, 2, 3, 4) for rank in ranks[:size]]
    for states in found:
        for step in range(modes.STEPS):
            for name, value in found[0][step].items():
                assert torch.equal(states[step][name], value), name


@pytest.mark.parametrize("case", modes.CASES, ids=str)
def test_a_pass_of_the_mode_step_normalizes_by_its_own_batch(
    ranks: list[dict[str, Any]], case: modes.Case
) -> None:
    """y and dx are bitwise those of a layer of one process; of no samples they are empty."""
    for rank, found in enumerate(ranks):
        passes = iter(found["step"][modes.CASES.index(case), 4]["passes"])
        for step in range(modes.STEPS):
            own = modes.part_of(modes.batch(case, step), modes.cut(4, rank, step))
            for part in modes.micro_batches(own, case):
                got = next(passes)
                if part["x"].numel() == 0:
                    assert [len(t) for t in got] == [0, 0]
                elif case.dtype == torch.float64:
                    torch.testing.assert_close(got, alone(case, part))
                else:
                    for a, b in zip(got, alone(case, part), strict=True):
                        assert torch.equal(a, b)


@pytest.mark.parametrize("size", modes.GROUPS)
def test_groups(ranks: list[dict[str, Any]], size: int) -> None:
    """y and dx are those of the samples of the group."""
    case, end = modes.CASES[0], 0
    for count in modes.GROUPS[size]:
        begin, end = end, end + count
        for step in range(modes.STEPS):
            cuts = [modes.cut(4, rank, step) for rank in range(begin, end)]
            of_group = slice(cuts[0].start, cuts[-1].stop)
            got = [found["group"][size]["passes"][step] for found in ranks[begin:end]]
            part = modes.part_of(modes.batch(case, step), of_group)
            for k, want in enumerate(alone(case, part) if len(part["x"]) else ()):
                assert torch.equal(torch.cat([each[k] for each in got]), want)


@pytest.mark.parametrize("size", modes.GROUPS)
def test_running_statistics_of_groups(ranks: list[dict[str, Any]], size: int) -> None:
    """They are those of all ranks."""
    for step, want in enumerate(modes.joined(modes.CASES[0])):
        for found in ranks:
            state = found["group"][size]["states"][step]
            assert all(torch.equal(state[name], value) for name, value in want.items())


def test_how_ranks_are_cut() -> None:
    """In groups of one size, the rest, and no single rank."""
    assert groups.cut(range(5), 3) == [range(3), range(3, 5)]
    assert groups.cut(range(9), 8) == [range(9)]
    assert groups.cut(range(3), 1) == [range(1), range(1, 2), range(2, 3)]
    for ranks in range(1, 70):
        for size in range(1, 70):
            cut = groups.cut(range(ranks), size)
            assert [rank for part in cut for rank in part] == list(range(ranks))
            assert all(len(part) == size for part in cut[:-1])
            assert len(cut[-1]) > 1 or size == 1 or ranks == 1


def test_groups_of_some_ranks(ranks: list[dict[str, Any]]) -> None:
    """Groups within a part of all ranks are refused."""
    told = "NotSupportedError: SyncBatchNorm cannot make groups within a process_group of 2 of 4"
    assert all(found["failing"]["some ranks"][0].startswith(told) for found in ranks[:2])


def test_collectives(ranks: list[dict[str, Any]]) -> None:
    """None in a pass of the mode step; one for both layers a step, more in the first one."""
    usual, whole = 24 + 8 * 2 + 48 * 6, 240 * 6
    for found in ranks:
        counted = found["counted"]
        for name in ("first", "second", "jump", "infinite"):
            assert counted[f"{name} pass"] == []
        assert counted["first"] == [48, usual, whole]
        assert counted["second"] == [usual]
        assert counted["jump"] == [usual, whole]
        assert counted["infinite"] == [usual, whole]
        assert counted["evaluation"] == [usual]


def test_collectives_of_groups(ranks: list[dict[str, Any]]) -> None:
    """A pass asks the ranks of the group; the merge all ranks."""
    usual, whole = 24 + 8 * 2 + 48 * 6, 240 * 6
    layers = [n for channels in (4, 2) for n in (16, 32 + 48 * channels, 240 * channels)]
    backward = [n for channels in (2, 4) for n in (32 + 64 * channels, 328 * channels)]
    for found in ranks:
        counted = found["counted"]
        assert counted["first pass of a group"] == layers + backward
        assert counted["second pass of a group"] == [
            32 + 48 * 4,
            32 + 48 * 2,
            32 + 64 * 2,
            32 + 64 * 4,
        ]
        assert counted["first of groups"] == [48, usual, whole]
        assert counted["second of groups"] == [usual]


@pytest.mark.parametrize("mode", ["step", "group"])
def test_a_failed_pass_is_an_error_of_every_rank(ranks: list[dict[str, Any]], mode: str) -> None:
    """Of the merge; in a group of its pass too. The step is dropped, and the next one counts."""
    fresh = modes.buffers(modes.network())
    after = [found["failing"][f"{mode} after it"] for found in ranks]
    assert after[0] != fresh
    for rank, found in enumerate(ranks):
        in_pass, merging, state, saving = found["failing"][mode]
        at_fault = rank == 1
        beside = mode == "group" and rank == 0
        wanted = "ShapeError: " if at_fault else ELSEWHERE if beside else ""
        assert in_pass.startswith(wanted)
        assert bool(in_pass) == bool(wanted)
        told = FAILED if at_fault else "RankError: "
        assert merging.startswith(told)
        assert state == fresh
        assert saving == ""
        assert after[rank] == after[0]


@pytest.mark.parametrize(
    ("part", "all_of_them"),
    [
        ("layers", "from 2 to 3 layers with 6 to 9 channels in the group."),
        ("order", "from 2 to 2 layers with 7 to 7 channels in the group."),
    ],
)
def test_other_layers_on_a_rank(ranks: list[dict[str, Any]], part: str, all_of_them: str) -> None:
    """Every rank has an error in place of the sums of another layer."""
    for rank, found in enumerate(ranks):
        layers = 2 + (rank == 1 and part == "layers")
        own = f"{layers} layers with {3 * layers + (part == 'order')} channels"
        must = "RankError: model must have the same synchronized layers, in one order, on every"
        (said,) = found["failing"][part]
        assert said.startswith(f"{must} rank, got {own} here, and {all_of_them}")


def test_one_value(ranks: list[dict[str, Any]]) -> None:
    """A rank cannot normalize one value by itself, which all ranks know at the end of the step."""
    for rank, found in enumerate(ranks):
        in_pass, merging = found["failing"]["one value"]
        assert in_pass.startswith("RangeError: input must have two values" if rank == 1 else "")
        assert merging.startswith("RankError: A pass of this rank" if rank == 1 else ELSEWHERE)


@pytest.mark.parametrize(
    "tool",
    [
        "DistributedDataParallel",
        "torch.compile",
        "checkpoint",
        "compiled and checkpoint",
        "compiled group",
    ],
)
def test_running_statistics_in_tools_of_pytorch(ranks: list[dict[str, Any]], tool: str) -> None:
    """They are those of a plain call, and bitwise identical on every rank."""
    for found in ranks:
        got, want = found["tools"][tool]
        if tool == "DistributedDataParallel":  # no step of an optimizer: the same weights
            assert got == want
        assert got == want
        assert want[-1] == ranks[0]["tools"][tool][1][-1]


def test_steps_without_passes(ranks: list[dict[str, Any]]) -> None:
    """Nothing moves where no rank has a value; a layer that is not called stays as it is."""
    fresh = modes.buffers(modes.network())
    for found in ranks:
        unusual = found["unusual"]
        assert unusual["no pass"] == fresh
        assert unusual["empty"] == fresh
        assert unusual["one layer"][3:] == fresh[3:]
        assert unusual["one layer"][0] == pytest.approx([0.1] * 4)
        assert unusual["one layer"][2] == 1


def test_mixed_dtypes(ranks: list[dict[str, Any]]) -> None:
    """Sums of float64 on one rank and of float32 on others are added exactly."""
    values = [modes.images(rank).double() for rank in (0, 1, 2, 2, 3)]
    x = torch.cat(values)
    for found in ranks:
        mean, var, batches = found["unusual"]["mixed dtypes"]
        assert mean == x.mean(0).float().tolist()
        assert var == pytest.approx(x.var(0).tolist(), rel=1e-6)
        assert batches == 1


def test_a_group_without_samples(ranks: list[dict[str, Any]]) -> None:
    """Its gradients are 0, and its running statistics those of the other groups."""
    for rank, found in enumerate(ranks):
        gradients = found["unusual"]["empty group"]
        for gradient in gradients if rank < 2 else ():
            assert torch.equal(torch.tensor(gradient), torch.zeros_like(torch.tensor(gradient)))
        assert found["unusual"]["of the others"] == ranks[2]["unusual"]["of the others"]
