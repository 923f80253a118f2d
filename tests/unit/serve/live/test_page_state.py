"""The page's state: what each transition leads to."""

from typing import Any

from tests.rig.node import run_in_node

STATUS = """
const { PageState } = await import("./static/live/page_state.js");
const status = (more = {}, engine = {}) => ({
  type: "status", now: 100, thinks: true, sees: true, limits: null, ...more,
  engine: { state: "ready", phase: null, cause: null, model: "a", next_model: null, ...engine },
});
const state = new PageState();
let notified = 0;
state.subscribe(() => { notified += 1; });
"""


def run(script: str) -> Any:
    return run_in_node(STATUS + script)


def test_a_run_starts_again_on_a_new_connection_only() -> None:
    assert run("""
    state.connect();
    const orders = [state.receiveStatus(status())];
    state.start();
    orders.push(state.receiveStatus(status()));
    state.disconnect();
    state.connect();
    orders.push(state.receiveStatus(status()), state.receiveStatus(status()));
    state.stop();
    state.connect();
    orders.push(state.receiveStatus(status()));
    return orders;
    """) == [None, None, "restart", None, None]


def test_a_run_about_pictures_stops_when_the_model_cannot_see() -> None:
    assert run("""
    state.receiveStatus(status());
    state.start();
    const sources = [state.sendSource()];
    const orders = [state.receiveStatus(status({ sees: false }, { state: "starting" }))];
    const sees = [state.sees];
    orders.push(state.receiveStatus(status({ sees: false })));
    sees.push(state.sees);
    sources.push(state.sendSource());
    orders.push(state.receiveStatus(status({ sees: false })));
    return { sources, orders, sees, isOnce: state.isOnce };
    """) == {
        "sources": ["page", "none"],
        "orders": [None, "stop", None],  # a model that is not ready yet says nothing of its sight
        "sees": [True, False],
        "isOnce": True,
    }


def test_the_server_takes_the_frames_of_the_scene() -> None:
    assert run("""
    const sources = {};
    for (const source of ["camera", "file", "scene"]) {
      state.chooseSource(source, false);
      sources[source] = state.sendSource();
    }
    return sources;
    """) == {"camera": "page", "file": "page", "scene": "scene"}


def test_a_still_picture_is_asked_about_once() -> None:
    assert run("""
    const once = [state.isOnce];
    state.openFile(true);
    once.push(state.isOnce);
    state.chooseSource("file", true);
    once.push(state.isOnce);
    state.openFile(false);
    once.push(state.isOnce);
    return once;
    """) == [False, False, True, False]


def test_the_next_model_is_known_until_it_is_ready() -> None:
    assert run("""
    const next = [state.nextModel];
    state.requestModel("b");
    next.push(state.nextModel);
    state.receiveStatus(status({}, { next_model: "c" }));
    next.push(state.nextModel);
    state.requestModel(null);
    for (const engine of [{ state: "starting", model: "c", next_model: "c" }, { model: "c", next_model: "c" }]) {
      state.receiveStatus(status({}, engine));
      next.push(state.nextModel);
    }
    return next;
    """) == [None, "b", "c", "c", None]


def test_a_lost_connection_keeps_the_last_status_but_is_not_ready() -> None:
    assert run("""
    state.receiveStatus(status());
    state.start();
    state.keepFrame(1, "one");
    const before = [state.isReady, state.isWaiting];
    state.disconnect();
    return { before, after: [state.isReady, state.isWaiting, state.model, state.takeFrame(1)] };
    """) == {"before": [True, False], "after": [False, True, "a", None]}


def test_frames_wait_for_their_answer_and_no_longer() -> None:
    assert run("""
    for (let id = 1; id <= 6; id += 1) state.keepFrame(id, `frame ${id}`);
    const taken = [state.takeFrame(2), state.takeFrame(4), state.takeFrame(3), state.takeFrame(6), state.takeFrame(6)];
    state.keepFrame(7, "frame 7");
    state.forgetFrames();
    return [...taken, state.takeFrame(7)];
    """) == [None, "frame 4", None, "frame 6", None, None]


def test_only_a_person_ends_the_pages_own_choice_of_a_source() -> None:
    assert run("""
    const byHand = [];
    state.chooseSource("camera", false);
    byHand.push(state.isChosenByHand);
    state.chooseSource("file", true);
    state.chooseSource("scene", false);
    byHand.push(state.isChosenByHand);
    const other = new PageState();
    other.start();
    byHand.push(other.isChosenByHand);
    return byHand;
    """) == [False, True, True]


def test_every_transition_is_told_to_who_shows_the_state() -> None:
    assert (
        run("""
    const steps = [
      () => state.receiveStatus(status()), () => state.start(), () => state.stop(), () => state.openFile(true),
      () => state.chooseSource("scene", true), () => state.requestModel("b"), () => state.disconnect(),
    ];
    return steps.map((step) => { notified = 0; step(); return notified; });
    """)
        == [1] * 7
    )


def test_the_phase_began_by_the_servers_clock() -> None:
    began_ms_ago = run("""
    state.receiveStatus(status({ now: 100 }, { since: 88.5 }));
    return performance.now() - state.phaseBeganMs;
    """)
    assert 11_500 <= began_ms_ago < 60_000
