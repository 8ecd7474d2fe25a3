"""What every environment promises, discovered by name: the file is the registration."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from pydantic import ValidationError

from memdt import discovery
from memdt.data.sources.played import play
from memdt.environments.outcomes import OUTCOMES
from memdt.environments.task import Task
from memdt.environments.vectors import SerialVector
from memdt.errors import UserError
from memdt.evaluation import episode_table
from memdt.results import metric_names

NAMES = discovery.names("memdt.environments")
ROWS = 4
SEGMENTS, SEGMENT_LENGTH = 2, 10
LONG = 10  # segments in which every collection policy is done
LONGEST = 20_000  # steps; an episode that has not ended by then never will


@pytest.fixture(params=NAMES)
def module(request):
    module = discovery.load("memdt.environments", request.param)
    absent = [name for name in module.REQUIRES if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{request.param} needs {', '.join(absent)}")
    return module


def example(module):
    """The default settings; what has no default is the first example that its field names."""
    fields = module.Settings.model_fields.items()
    return module.Settings(**{k: field.examples[0] for k, field in fields if field.is_required()})


@pytest.fixture
def settings(module):
    return Task(module, example(module)).lengthened(SEGMENTS * SEGMENT_LENGTH).settings


def actions_of(module, settings, count, rows=ROWS, seed=3):
    space = module.make(settings).action_space
    space.seed(seed)
    return np.array([[space.sample() for _ in range(rows)] for _ in range(count)])


def steps_of(vector, actions, seeds):
    """All that a vector environment returns, from the reset on, stacked over time."""
    steps = [(vector.reset(seed=seeds)[0], *(np.zeros(len(seeds)) for _ in range(3)))]
    steps += [vector.step(action)[:4] for action in actions]
    return [np.stack(column) for column in zip(*steps, strict=True)]


def own_or_skip(module, name):
    if not hasattr(module, name):
        pytest.skip(f"{module.__name__} has no {name}")


def test_the_default_environments_are_found():
    assert "tmaze" in NAMES
    assert "interface" not in NAMES


def test_settings_are_described_frozen_and_refuse_unknown_keys(module):
    assert all(field.description for field in module.Settings.model_fields.values())
    with pytest.raises(ValidationError, match="extra"):
        module.Settings(**example(module).model_dump(), no_such_setting=1)
    name = next(iter(module.Settings.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(example(module), name, None)


def test_gymnasium_accepts_the_environment(module, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Environments of others, made by their id, are wrapped and may have no bounds.
        allowed_messages = (
            "different from the unwrapped version",
            "infinity. This is probably too",
            "precision lowered",
            "out of date",
        )
        for allowed in allowed_messages:
            warnings.filterwarnings("ignore", message=f".*{allowed}")
        check_env(module.make(settings), skip_render_check=True)


def test_vector_spaces_are_those_of_single_environments(module, settings):
    single = module.make(settings)
    vector = Task(module, settings).vector(ROWS)
    assert vector.num_envs == ROWS
    assert vector.single_observation_space == single.observation_space
    assert vector.single_action_space == single.action_space
    assert vector.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    observations, _ = vector.reset(seed=list(range(ROWS)))
    assert vector.observation_space.contains(observations)


def test_vector_rows_are_single_episodes(module, settings):
    actions = actions_of(module, settings, 60)
    vector = Task(module, settings).vector(ROWS)
    observed, rewards, terminated, truncated = steps_of(vector, actions, range(ROWS))
    for row in range(ROWS):
        single = module.make(settings)
        observation, _ = single.reset(seed=row)
        np.testing.assert_array_equal(observed[0, row], observation)
        for time, action in enumerate(actions[:, row], start=1):
            step = single.step(action)
            np.testing.assert_array_equal(observed[time, row], step[0])
            flags = rewards[time, row], terminated[time, row], truncated[time, row]
            assert flags == step[1:4]
            if step[2] or step[3]:
                break


def test_own_vector_form_is_the_serial_one(module, settings):
    actions = actions_of(module, settings, 60)
    serial = SerialVector([module.make(settings) for _ in range(ROWS)])
    own = Task(module, settings).vector(ROWS)
    for seeds in (list(range(ROWS)), list(range(100, 100 + ROWS))):
        for ours, theirs in zip(
            steps_of(own, actions, seeds), steps_of(serial, actions, seeds), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_a_finished_row_is_frozen_until_the_reset(module, settings):
    vector = Task(module, settings).vector(ROWS)
    actions = actions_of(module, settings, 200)
    observed, rewards, terminated, truncated = steps_of(vector, actions, range(ROWS))
    ended = (terminated.astype(bool) | truncated.astype(bool))[:-1]
    assert ended.any()
    for name, values in {"terminated": terminated, "truncated": truncated}.items():
        np.testing.assert_array_equal(values[1:][ended], values[:-1][ended], err_msg=name)
    np.testing.assert_array_equal(observed[1:][ended], observed[:-1][ended])
    assert not rewards[1:][ended].any()
    again, _ = vector.reset(seed=list(range(ROWS)))
    np.testing.assert_array_equal(again, observed[0])


def test_returned_arrays_are_the_callers_own(module, settings):
    vector = Task(module, settings).vector(ROWS)
    first, _ = vector.reset(seed=list(range(ROWS)))
    kept = first.copy()
    action = actions_of(module, settings, 1)[0]
    second, rewards, terminated, truncated, _ = vector.step(action)
    np.testing.assert_array_equal(first, kept)
    for array in (second, rewards, terminated, truncated):
        array[:] = 1
    fresh = Task(module, settings).vector(ROWS)
    fresh.reset(seed=list(range(ROWS)))
    fresh.step(action)
    for ours, theirs in zip(vector.step(action)[:4], fresh.step(action)[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_same_seed_same_episode_and_other_seed_another(module, settings):
    actions = actions_of(module, settings, 8)
    vector = Task(module, settings).vector(ROWS)
    first = steps_of(vector, actions, [5] * ROWS)
    for array in steps_of(vector, np.repeat(actions[:, :1], ROWS, axis=1), [5] * ROWS):
        np.testing.assert_array_equal(array, np.repeat(array[:, :1], ROWS, axis=1))
    for ours, theirs in zip(first, steps_of(vector, actions, [5] * ROWS), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    others = steps_of(vector, actions, list(range(50, 50 + ROWS)))
    assert not np.array_equal(first[0], others[0])


def test_a_random_episode_ends(module, settings):
    single = module.make(settings)
    single.reset(seed=0)
    single.action_space.seed(0)
    for _ in range(LONGEST):
        _, _, terminated, truncated, _ = single.step(single.action_space.sample())
        if terminated or truncated:
            return
    pytest.fail(f"still running after {LONGEST} steps")


def test_the_collection_policy_succeeds(module):
    if not hasattr(module, "collection_policy"):
        pytest.skip("no collection policy: its datasets come from elsewhere")
    own_or_skip(module, "success")
    task = Task(module, example(module)).lengthened(LONG * SEGMENT_LENGTH)
    store = play(task.collection_vector(ROWS), task.collection_policy(), range(ROWS))
    solved = task.success(store.returns, store.terminated)
    assert solved.shape == (ROWS,)
    assert solved.dtype == bool
    assert solved.mean() > 0.5


def test_seeds_must_be_one_a_row(module, settings):
    with pytest.raises(ValueError, match="seeds"):
        Task(module, settings).vector(ROWS).reset(seed=[1, 2])


# ---- what a module may leave out ----------------------------------------------------------------


def test_spaces_are_those_of_an_environment_that_is_made(module, settings):
    single = module.make(settings)
    spaces = Task(module, settings).spaces
    assert spaces.observation == single.observation_space
    assert spaces.action == single.action_space
    single.close()


def test_spaces_are_known_without_a_simulator(module, settings, monkeypatch):
    own_or_skip(module, "spaces_of")
    monkeypatch.setattr(module, "make", lambda settings: pytest.fail("an environment was made"))
    assert Task(module, settings).spaces.action_outputs > 0


@pytest.mark.parametrize("steps", [SEGMENTS * SEGMENT_LENGTH, 3])
def test_lengthened_episodes_last_no_longer_than_that(module, steps):
    own_or_skip(module, "lengthened")
    task = Task(module, example(module))
    before = task.settings.model_dump()
    try:
        longer = task.lengthened(steps)
    except UserError:
        pytest.skip(f"needs more than {steps} steps, and says so")
    assert isinstance(longer.settings, module.Settings)
    assert task.settings.model_dump() == before
    vector = longer.vector(ROWS)
    actions = actions_of(module, longer.settings, steps)
    *_, terminated, truncated = steps_of(vector, actions, range(ROWS))
    vector.close()
    assert (terminated[-1].astype(bool) | truncated[-1].astype(bool)).all()


def test_the_collection_vector_shows_what_is_evaluated_later(module, settings):
    own_or_skip(module, "make_collection_vector")
    actions = actions_of(module, settings, 12)
    task = Task(module, settings)
    for ours, theirs in zip(
        steps_of(task.collection_vector(ROWS), actions, range(ROWS)),
        steps_of(task.vector(ROWS), actions, range(ROWS)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_success_is_a_flag_for_every_episode(module):
    own_or_skip(module, "success")
    task = Task(module, example(module))
    terminated = np.array([True, False] * 3)
    returns = np.linspace(-1, 2, 6)
    solved = task.judge(returns, terminated, task.groups(range(6)))["success"]
    assert solved.shape == (6,)
    assert solved.dtype == bool
    alone = [task.success(returns[[row]], terminated[[row]])[0] for row in range(6)]
    np.testing.assert_array_equal(solved, alone)


def test_scores_lie_on_a_scale_of_two_returns(module):
    own_or_skip(module, "score_range")
    task = Task(module, example(module))
    for group in set(task.groups(range(20))):
        low, high = module.score_range(task.settings, group)
        assert low < high
        judged = task.judge(np.array([low, high]), np.zeros(2, bool), [group] * 2)
        np.testing.assert_allclose(judged["score"], [0, 100])


def test_a_group_is_a_word_and_follows_from_the_seed_alone(module):
    task = Task(module, example(module))
    groups = task.groups(range(50))
    assert len(groups) == 50
    assert all(isinstance(group, str) and group and "," not in group for group in groups)
    order = np.random.default_rng(0).permutation(50)
    assert task.groups(order) == [groups[seed] for seed in order]


def test_measures_are_whole_numbers_of_every_info(module, settings):
    if not Task(module, settings).measures:
        pytest.skip("this environment counts nothing")
    vector = Task(module, settings).vector(ROWS)
    _, first = vector.reset(seed=list(range(ROWS)))
    *_, last = vector.step(actions_of(module, settings, 1)[0])
    for name in Task(module, settings).measures:
        assert name not in (
            *episode_table.columns(tuple(OUTCOMES), ()),
            "seed",
            "experiment",
            "variant",
        )
        for info in (first, last):
            assert len(info[name]) == ROWS
            assert all(int(value) == value for value in info[name])


def test_the_hint_is_seen_within_an_episode(module):
    task = Task(module, example(module))
    hint = task.hint_steps
    assert isinstance(hint, range)
    assert hint.start == 0
    assert hint.step == 1


def test_columns_of_a_module_are_known_without_importing_it(module):
    name = module.__name__.rpartition(".")[2]
    task = Task(module, example(module))
    columns = metric_names.columns_of(name)
    assert columns == (
        *task.outcomes, *metric_names.EVERYWHERE, *task.measures, *episode_table.ATTENTION
    )  # fmt: skip
