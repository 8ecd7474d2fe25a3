"""Meta-World against the package itself: its tasks, its episodes to the bit, its successes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from pydantic import ValidationError

from memdt.data.episodes import concatenate
from memdt.data.sources import played
from memdt.data.sources.record import Record
from memdt.environments import meta_world as module
from memdt.environments.meta_world import GOAL, Settings, in_decimetres
from memdt.environments.meta_world_parts import tasks as meta_world_tasks
from memdt.environments.meta_world_parts.simulator import package, scripted_policy
from memdt.environments.task import Task
from memdt.environments.vectors import SerialVector, screens

if [name for name in module.REQUIRES if importlib.util.find_spec(name) is None]:
    pytest.skip("Meta-World is not installed", allow_module_level=True)
metaworld = package()

# Quick to solve; a door, whose place is part of the model; two places drawn until they fit.
COFFEE, DOOR, PUSH = "coffee-button-v3", "door-unlock-v3", "push-v3"
RAW = {"units": "metres", "goal_hidden": False, "noise": 0.0}


def actions_of(count: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (count, 4)).astype(np.float32)


def episode_of(settings: Settings, seed: int, actions: np.ndarray) -> np.ndarray:
    """Observations of an episode, one a row."""
    arm = module.make(settings)
    seen = [arm.reset(seed=seed)[0]]
    seen += [arm.step(action)[0] for action in actions]
    arm.close()
    return np.stack(seen)


def official_episode(task: str, goal: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The same from the package's own class and its own reset, with this goal set."""
    arm = metaworld.env_dict.ALL_V3_ENVIRONMENTS[task]()
    content = {"env_cls": type(arm), "rand_vec": goal, "partially_observable": False}
    arm.set_task(metaworld._encode_task(task, content))
    seen = [arm.reset()[0]]
    seen += [arm.step(action)[0] for action in actions]
    arm.close()
    return np.stack(seen).astype(np.float32)


def solved_episode(settings: Settings, seeds: range):
    vector = Task(module, settings).collection_vector(len(seeds))
    store = played.play(vector, module.collection_policy(settings), seeds)
    vector.close()
    return store


# ---- tasks and seeds ---------------------------------------------------------------------------


def test_the_tasks_are_those_of_ml45() -> None:
    official = metaworld.env_dict.ML45_V3
    assert sorted(official["train"]) == list(meta_world_tasks.TRAINING)
    assert sorted(official["test"]) == list(meta_world_tasks.TEST)


def test_an_unknown_task_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ValidationError, match="door-lock-v3"):
        Settings(tasks=("door-lok-v3",))


def test_tasks_take_turns_by_seed_and_are_the_groups() -> None:
    settings = Settings(tasks=(COFFEE, DOOR, PUSH))
    assert module.group(settings, np.arange(4)) == [COFFEE, DOOR, PUSH, COFFEE]
    arm = module.make(settings)
    for seed, task in enumerate((COFFEE, DOOR, PUSH)):
        arm.reset(seed=seed)
        assert arm._simulator.task == task
    arm.close()


@pytest.mark.parametrize("task", [DOOR, PUSH])
def test_an_episode_is_the_packages_own_with_the_same_goal(task: str) -> None:
    settings, actions = Settings(tasks=(task,), **RAW), actions_of(15)
    ours = episode_of(settings, 7, actions)
    other = episode_of(settings, 8, actions)  # in the simulator that was given back
    again = episode_of(settings, 7, actions)
    np.testing.assert_array_equal(ours, again)
    assert not np.array_equal(ours[0], other[0])
    arm = module.make(settings)
    arm.reset(seed=7)
    goal = arm._simulator.goal
    arm.close()
    np.testing.assert_array_equal(ours, official_episode(task, goal, actions))


def test_goals_are_drawn_from_the_tasks_own_space() -> None:
    arm = module.make(Settings(tasks=(PUSH,)))
    goals = []
    for seed in range(30):
        arm.reset(seed=seed)
        goals.append(arm._simulator.goal)
    space = arm._simulator._environment._random_reset_space
    arm.close()
    goals = np.stack(goals)
    assert (goals >= space.low).all()
    assert (goals <= space.high).all()
    assert len(np.unique(goals, axis=0)) == 30
    assert (np.linalg.norm(goals[:, :2] - goals[:, 3:5], axis=1) >= 0.15).all()  # as the task asks
    middle, width = (space.low + space.high) / 2, space.high - space.low
    assert (np.abs(goals.mean(0) - middle)[:2] < width[:2] / 4).all()


def test_a_simulator_is_built_once_and_lent_again() -> None:
    settings = Settings(tasks=(COFFEE,))
    first = module.make(settings)
    first.reset(seed=0)
    lent = first._simulator
    first.close()
    second = module.make(settings)
    second.reset(seed=1)
    assert second._simulator is lent
    second.close()


# ---- observations ------------------------------------------------------------------------------


def test_the_goal_is_zeros_where_it_is_hidden() -> None:
    actions = actions_of(3)
    shown = episode_of(Settings(tasks=(PUSH,), **RAW), 3, actions)
    hidden = episode_of(Settings(tasks=(PUSH,), **{**RAW, "goal_hidden": True}), 3, actions)
    assert shown[:, GOAL].all(axis=1).all()
    assert not hidden[:, GOAL].any()
    np.testing.assert_array_equal(shown[:, :36], hidden[:, :36])


def test_decimetres_count_from_the_middle_of_the_workspace() -> None:
    seen = np.zeros(39)
    seen[:4] = (0.1, 0.65, 0.3, 0.7)  # hand and gripper
    seen[4:11] = (0.0, 0.85, 0.0, 0, 0, 0, 1)  # one object, upright
    seen[18:22] = (0.0, 0.75, 0.2, 0.5)  # the step before; it had no object yet
    seen[GOAL] = (0.0, 0.65, 0.2)
    expected = np.zeros(39)
    expected[:4] = (1, 0, 1, 0.7)
    expected[4:11] = (0, 2, -2, 0, 0, 0, 1)
    expected[18:22] = (0, 1, 0, 0.5)
    np.testing.assert_allclose(in_decimetres(seen, goal_hidden=False), expected, atol=1e-12)
    hidden = in_decimetres(np.zeros(39), goal_hidden=True)
    assert not hidden[GOAL].any()


# ---- success, rewards, time --------------------------------------------------------------------


def test_the_first_success_ends_an_episode_and_is_worth_1() -> None:
    store = solved_episode(Settings(tasks=(COFFEE,)), range(4))
    assert module.success(store.returns, store.terminated).all()
    assert store.returns.tolist() == [1.0] * 4
    assert (store.rewards[store.offsets[1:] - 1] == 1).all()
    assert store.lengths.max() < 80


def test_judged_at_the_last_step_an_episode_runs_to_its_end() -> None:
    settings = Settings(tasks=(COFFEE,), success="last_step", time_limit=60)
    store = solved_episode(settings, range(3))
    assert store.lengths.tolist() == [60] * 3
    np.testing.assert_array_equal(store.returns, store.terminated.astype(float))


def test_time_cuts_an_episode_without_success() -> None:
    arm = module.make(Settings(tasks=(COFFEE,), time_limit=5))
    arm.reset(seed=0)
    flags = [arm.step(np.zeros(4, np.float32))[2:4] for _ in range(5)]
    assert flags == [(False, False)] * 4 + [(False, True)]
    arm.close()


def test_dense_returns_lie_between_0_and_1() -> None:
    settings = Settings(tasks=(COFFEE,), reward="dense", success="last_step", time_limit=50)
    store = solved_episode(settings, range(2))
    assert ((store.returns > 0.02) & (store.returns < 1)).all()
    assert len(np.unique(store.rewards)) > 50


def test_a_length_in_segments_never_exceeds_the_tasks_own_limit() -> None:
    assert module.lengthened(Settings(), 18 * 28).time_limit == 500
    assert module.lengthened(Settings(), 2 * 28).time_limit == 56


def test_steps_near_the_object_and_successes_are_counted() -> None:
    settings = Settings(tasks=(PUSH,))
    vector = Task(module, settings).collection_vector(1)
    policy = module.collection_policy(settings)
    observation, info = vector.reset(seed=[0])
    policy.reset([0])
    counts = [(0, 0)]
    while not counts[-1][1]:
        observation, *_, info = vector.step(policy.act(observation, info))
        counts.append((info["near_object"][0], info["solved"][0]))
    vector.close()
    near = np.array(counts)[:, 0]
    assert set(np.diff(near)) <= {0, 1}
    assert 0 < near[-1] < len(counts)


# ---- demonstrations ----------------------------------------------------------------------------


def test_what_is_stored_was_done_and_lies_within_the_space() -> None:
    settings = Settings(tasks=(COFFEE,), noise=0.5)
    store = solved_episode(settings, range(2))
    assert store.actions.dtype == np.float32
    assert np.abs(store.actions).max() <= 1
    again = episode_of(settings, 0, store[0].actions[:-1])
    np.testing.assert_array_equal(again, store[0].observations)


def test_what_is_learnt_is_what_the_scripted_policy_does_there() -> None:
    store = solved_episode(Settings(tasks=(COFFEE,), noise=0.3), range(2))
    apart = store.actions - store.labels
    assert apart.std() > 0.1
    # Settings of a collector that sees where it is: the plain policy on the same observations.
    raw = solved_episode(Settings(tasks=(COFFEE,), **{**RAW, "noise": 0.3}), range(2))
    np.testing.assert_array_equal(raw.actions, store.actions)
    scripted = [scripted_policy(COFFEE).get_action(one.astype(float)) for one in raw.observations]
    np.testing.assert_allclose(store.labels, np.clip(scripted, -1, 1), atol=1e-4)


def test_noise_moves_the_scripted_actions_and_depends_on_the_seed_alone() -> None:
    plain = solved_episode(Settings(tasks=(COFFEE,), noise=0.0), range(1))
    noisy = solved_episode(Settings(tasks=(COFFEE,), noise=0.1), range(3))
    alone = solved_episode(Settings(tasks=(COFFEE,), noise=0.1), range(1))
    assert not np.array_equal(plain[0].actions[0], noisy[0].actions[0])
    np.testing.assert_array_equal(alone[0].actions, noisy[0].actions)


def test_as_many_of_each_task_are_collected_and_again_the_same() -> None:
    task = Task(module, Settings(tasks=(COFFEE, "handle-press-v3")))
    dataset = played.Settings(source="played", lengths=(30,), episodes_per_length=6)
    # 30 steps: the coffee machine is often reached too late.
    records = Record(), Record()
    one, two = (concatenate(played.episodes(task, dataset, (), record)) for record in records)
    groups = one.groups.tolist()
    assert groups == module.group(task.settings, one.seeds)
    assert groups.count(COFFEE) == groups.count("handle-press-v3") == 3
    assert records[0].attempts == records[1].attempts
    assert records[0].attempts[COFFEE] > 3
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, getattr(two, name), err_msg=name)


# ---- pictures ----------------------------------------------------------------------------------


def test_a_picture_is_drawn_or_there_is_none() -> None:
    vector = SerialVector([module.make(Settings(tasks=(COFFEE,)))])
    vector.reset(seed=[0])
    (screen,) = screens(vector, [0])
    vector.close()
    if screen is None:
        pytest.skip("MuJoCo finds no library to draw with")
    assert screen.shape == (192, 256, 3)
    assert screen.std() > 10


def test_where_nothing_can_be_drawn_there_is_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    from mujoco import gl_context

    def broken(*sizes: object) -> None:
        raise AttributeError("no library")

    monkeypatch.setattr(gl_context, "GLContext", broken, raising=False)
    arm = module.make(Settings(tasks=("drawer-open-v3",)))
    vector = SerialVector([arm])
    vector.reset(seed=[0])
    assert screens(vector, [0]) == [None]
    vector.close()
