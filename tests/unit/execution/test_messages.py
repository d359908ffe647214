"""Messages: what goes in comes out, and whatever a worker sends, nothing worse than a refusal."""

from __future__ import annotations

import json
import math
import pickle
import struct
from datetime import date

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stratsweep_server.backtest import (
    EngineDescription,
    Metric,
    MetricUnit,
    OptimizationDirection,
    ParameterType,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.backtest.sources import ModuleSource
from stratsweep_server.execution import messages
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.messages import (
    FrameReader,
    Loaded,
    MalformedMessageError,
    MessageKind,
    Outcomes,
)
from stratsweep_server.execution.outcomes import FailureKind
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.market_data.bars import BarsHeader

CHUNK_ID = 7
INDICES = np.arange(100, 120)


def indices_of(chunk_id: int, offset: int, count: int) -> np.ndarray:
    """The lookup of a server whose worker is on chunk 7, of 20 combinations, with 4 done."""
    if (chunk_id, offset) != (CHUNK_ID, 4) or not 0 < count <= 16:
        raise LookupError("not there")
    return INDICES[offset : offset + count]


def body_of(frame: bytes, kind: MessageKind) -> bytes:
    ((found, body),) = FrameReader().feed(frame)
    assert found is kind
    return body


def outcomes_body(
    *,
    chunk_id=CHUNK_ID,
    offset=4,
    busy_duration=0.5,
    durations=(0.1, 0.2),
    metric_names=("sharpe_ratio",),
    metrics=((1.5,), (math.nan,)),
    failures=((1, "ValueError: no", "Traceback"),),
) -> bytes:
    frame = messages.encode_outcomes(
        chunk_id, offset, busy_duration, durations, metric_names, np.array(metrics), failures
    )
    return body_of(frame, MessageKind.OUTCOMES)


def raw_outcomes_body(header: object, numbers=(0.1, 0.2, 1.5, 2.5), count: int = 2) -> bytes:
    """An OUTCOMES body as a worker gone wild could send it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    prefix = struct.pack("<QIIId", CHUNK_ID, 4, count, len(text), 0.5)
    return prefix + text + np.array(numbers).tobytes()


# Round trips.

parameter_values = st.integers() | st.floats(allow_nan=False) | st.text() | st.booleans()
plans = st.builds(
    BacktestPlan,
    strategy=st.text(),
    axes=st.lists(
        st.builds(ParameterAxis, st.text(), st.lists(parameter_values, max_size=3)), max_size=2
    ).map(tuple),
    symbols=st.lists(st.text(), max_size=3).map(tuple),
    start_date=st.none() | st.dates(),
    bar_headers=st.none()
    | st.dictionaries(st.text(), st.builds(BarsHeader, st.integers(1)), max_size=2),
)
text = st.text(max_size=20)
sources = st.builds(ModuleSource, text, text, text, st.integers(0, 2**63 - 1))
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
descriptions = st.builds(
    EngineDescription,
    strategies=st.lists(
        st.builds(
            Strategy,
            text,
            text,
            st.lists(
                st.builds(
                    StrategyParameter,
                    name=text,
                    type=st.sampled_from(ParameterType),
                    default=st.none() | parameter_values,
                    minimum=numbers,
                    maximum=numbers,
                    choices=st.lists(text, max_size=3).map(tuple),
                    description=text,
                ),
                max_size=3,
            ).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    metrics=st.lists(
        st.builds(
            Metric,
            text,
            text,
            st.sampled_from(MetricUnit),
            st.sampled_from([None, OptimizationDirection.MAXIMIZE, OptimizationDirection.MINIMIZE]),
        ),
        max_size=3,
    ).map(tuple),
    uses_market_data=st.booleans(),
)


@given(st.integers(0, 2**63), plans)
def test_a_plan_survives_the_way(plan_id, plan):
    body = body_of(messages.encode_plan(plan_id, plan), MessageKind.PLAN)
    assert messages.decode_plan(body) == (plan_id, plan)


@given(st.integers(0, 2**64 - 1))
def test_a_release_survives_the_way(plan_id):
    body = body_of(messages.encode_release(plan_id), MessageKind.RELEASE)
    assert messages.decode_release(body) == plan_id


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.lists(st.integers(0, 2**63 - 1), max_size=50),
    st.booleans(),
)
def test_a_chunk_survives_the_way(plan_id, chunk_id, indices, apart):
    frame = messages.encode_chunk(plan_id, chunk_id, np.array(indices, dtype=np.int64), apart=apart)
    head = messages.decode_chunk(body_of(frame, MessageKind.CHUNK))
    assert (head[0], head[1], head[2].tolist(), head[3]) == (plan_id, chunk_id, indices, apart)


@given(
    st.builds(
        Loaded,
        descriptions,
        st.lists(sources, max_size=3).map(tuple),
        st.dictionaries(text, text, max_size=3),
    )
)
def test_what_is_loaded_survives_the_way(loaded):
    body = body_of(messages.encode_ready(loaded), MessageKind.READY)
    assert messages.decode_ready(body) == loaded


@given(st.data())
def test_outcomes_survive_the_way(data):
    count = data.draw(st.integers(1, 16))
    names = data.draw(st.lists(text, max_size=4, unique=True))
    seconds = st.floats(0, 1e6)
    durations = data.draw(st.lists(seconds, min_size=count, max_size=count))
    metric = st.floats(allow_infinity=False)
    row = st.lists(metric, min_size=len(names), max_size=len(names))
    table = np.array(data.draw(st.lists(row, min_size=count, max_size=count)), dtype=np.float64)
    rows = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    failures = [(row, data.draw(text), data.draw(text)) for row in rows]
    busy = data.draw(seconds)
    frame = messages.encode_outcomes(CHUNK_ID, 4, busy, durations, names, table, failures)
    outcomes = messages.decode_outcomes(body_of(frame, MessageKind.OUTCOMES), indices_of)
    batch = outcomes.batch
    assert (outcomes.chunk_id, outcomes.offset, outcomes.busy_duration) == (CHUNK_ID, 4, busy)
    assert batch.indices.tolist() == INDICES[4 : 4 + count].tolist()
    assert batch.durations.tolist() == durations
    assert list(batch.metric_names) == names
    np.testing.assert_array_equal(batch.metrics, table.reshape(count, len(names)))
    assert batch.metrics.flags.f_contiguous
    assert batch.metrics.flags.aligned
    assert [
        (failure.combination_index, failure.kind, failure.message, failure.traceback)
        for failure in batch.failures
    ] == [(104 + row, FailureKind.ERROR, message, trace) for row, message, trace in failures]
    assert [failure.duration for failure in batch.failures] == [durations[row] for row in rows]


def test_half_a_character_in_an_error_text_arrives_as_a_question_mark():
    body = outcomes_body(failures=[(0, "OSError: \udce9t\udce9.csv", "\ud800")])
    (failure,) = messages.decode_outcomes(body, indices_of).batch.failures
    assert (failure.message, failure.traceback) == ("OSError: ?t?.csv", "?")


def test_a_start_failure_is_text_whatever_is_in_it():
    body = body_of(messages.encode_start_failed("no \udce9 licence ✓"), MessageKind.START_FAILED)
    assert body.decode() == "no ? licence ✓"


# Frames.

frames = st.lists(
    st.tuples(st.sampled_from(MessageKind), st.binary(max_size=300)), min_size=1, max_size=5
)


@given(frames, st.data())
def test_frames_arrive_whole_however_the_stream_is_split(sent, data):
    stream = b"".join(messages.frame(kind, body) for kind, body in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader, arrived = FrameReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += reader.feed(stream[begin:end])
    assert arrived == sent


@given(frames)
def test_frames_arrive_whole_byte_by_byte(sent):
    stream = b"".join(messages.frame(kind, body) for kind, body in sent)
    reader = FrameReader()
    assert [
        frame for place in range(len(stream)) for frame in reader.feed(stream[place : place + 1])
    ] == sent


def test_a_frame_that_is_too_long_is_refused_before_it_is_read():
    head = struct.pack("<BI", MessageKind.OUTCOMES, messages.MAX_WORKER_BODY_BYTES + 1)
    with pytest.raises(MalformedMessageError, match=r"kind 6 and 16777217 bytes"):
        list(FrameReader().feed(head))


def test_a_worker_takes_plans_of_any_length():
    values = [float(value) for value in range(2_000_000)]
    plan = BacktestPlan("sma_cross", (ParameterAxis("x", values),), ("SPY",), date(2020, 1, 1))
    frame = messages.encode_plan(1, plan)
    assert len(frame) > messages.MAX_WORKER_BODY_BYTES
    ((kind, body),) = FrameReader(messages.MAX_BODY_BYTES).feed(frame)
    assert kind is MessageKind.PLAN
    assert messages.decode_plan(body)[1].grid_size == 2_000_000


@pytest.mark.parametrize("kind", [0, 7, 72, 255])
def test_bytes_of_an_unknown_kind_are_refused(kind):
    with pytest.raises(MalformedMessageError, match=f"kind {kind}"):
        list(FrameReader().feed(struct.pack("<BI", kind, 0)))


def test_what_a_print_writes_to_the_socket_is_refused():
    with pytest.raises(MalformedMessageError):
        list(FrameReader().feed(b"loading prices...\n"))


# Whatever comes from a worker.


def read_as_the_server_does(stream: bytes) -> list[EngineDescription | Outcomes]:
    decoded = []
    for kind, body in FrameReader().feed(stream):
        if kind is MessageKind.READY:
            decoded.append(messages.decode_ready(body).description)
        elif kind is MessageKind.OUTCOMES:
            decoded.append(messages.decode_outcomes(body, indices_of))
    return decoded


def read_or_refuse(stream: bytes) -> list[EngineDescription | Outcomes]:
    try:
        return read_as_the_server_does(stream)
    except MalformedMessageError:
        return []


READY_FRAME = messages.encode_ready(
    Loaded(
        EngineDescription(
            (
                Strategy(
                    "s",
                    "d",
                    (StrategyParameter("p", ParameterType.STRING, choices=("a",)),),
                    "m",
                    True,
                ),
            ),
            (Metric("m", "d", MetricUnit.DAYS, OptimizationDirection.MINIMIZE), Metric("n")),
            uses_market_data=True,
        ),
        (ModuleSource("ideas.trend", "/desk/ideas/trend.py", "ab" * 32, 10**18),),
        {"numpy": "2.2.1"},
    )
)
VALID_FRAMES = [READY_FRAME, messages.frame(MessageKind.OUTCOMES, outcomes_body())]


@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(stream):
    read_or_refuse(stream)


@given(st.sampled_from([MessageKind.READY, MessageKind.OUTCOMES]), st.binary(max_size=400))
def test_frames_with_random_bodies_are_read_or_refused(kind, body):
    read_or_refuse(messages.frame(kind, body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["strategies", "metrics", "uses_market_data", "parameters", "name", "type"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(json_values)
def test_ready_messages_of_any_json_are_read_or_refused(value):
    read_or_refuse(messages.frame(MessageKind.READY, json.dumps(value).encode()))


@given(json_values, json_values, st.integers(0, 3))
@example([], [[None, "", ""]], 1)
@example([], [[True, "", ""]], 1)
def test_outcomes_with_any_json_are_read_or_refused(names, failures, count):
    body = raw_outcomes_body([names, failures], numbers=[0.1] * count, count=count)
    for outcomes in read_or_refuse(messages.frame(MessageKind.OUTCOMES, body)):
        assert_plausible(outcomes)


@given(st.sampled_from(VALID_FRAMES), st.data())
def test_valid_frames_with_flipped_bytes_are_read_or_refused(frame, data):
    stream = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place] ^= data.draw(st.integers(1, 255))
    for decoded in read_or_refuse(bytes(stream)):
        if isinstance(decoded, Outcomes):
            assert_plausible(decoded)


@given(st.sampled_from(VALID_FRAMES), st.data())
def test_truncated_bodies_are_refused(frame, data):
    body = frame[5:]
    short = body[: data.draw(st.integers(0, len(body) - 1))]
    with pytest.raises(MalformedMessageError):
        read_as_the_server_does(messages.frame(MessageKind(frame[0]), short))


def assert_plausible(outcomes: Outcomes) -> None:
    """What reaches the server's books can be added up, ranked and sent on."""
    batch = outcomes.batch
    assert math.isfinite(outcomes.busy_duration)
    assert outcomes.busy_duration >= 0
    assert np.isfinite(batch.durations).all()
    assert len(batch.durations) == len(batch.indices) == len(batch.metrics)
    assert batch.metrics.shape[1] == len(batch.metric_names)
    assert not np.isinf(batch.metrics).any()
    assert {failure.combination_index for failure in batch.failures} <= set(batch.indices.tolist())
    for line in (*batch.metric_names, *(failure.message for failure in batch.failures)):
        assert line.encode().decode() == line


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"chunk_id": 8}, id="another chunk"),
        pytest.param({"offset": 3}, id="a combination that has its outcome"),
        pytest.param({"offset": 5}, id="one left out"),
        pytest.param({"durations": [], "metrics": np.empty((0, 1)), "failures": []}, id="no rows"),
        pytest.param(
            {"durations": [0.1] * 17, "metrics": [[1.0]] * 17}, id="more rows than the chunk has"
        ),
        pytest.param({"metrics": [[1.0]]}, id="a row too few"),
        pytest.param({"metrics": [[1.0], [2.0], [3.0]]}, id="a row too many"),
        pytest.param({"metric_names": ["a", "b"]}, id="a column too few"),
        pytest.param({"failures": [(2, "", "")]}, id="a failure beyond the rows"),
        pytest.param({"failures": [(-1, "", "")]}, id="a failure before the rows"),
        pytest.param({"failures": [(0.0, "", "")]}, id="a failure between the rows"),
        pytest.param({"failures": [(True, "", "")]}, id="a failure of no row"),
        pytest.param({"failures": [(0, None, "")]}, id="a failure without text"),
        pytest.param({"busy_duration": math.nan}, id="no busy time"),
        pytest.param({"busy_duration": -1.0}, id="negative busy time"),
        pytest.param({"busy_duration": math.inf}, id="endless busy time"),
        pytest.param({"durations": [0.1, math.nan]}, id="no duration"),
        pytest.param({"durations": [0.1, -0.1]}, id="negative duration"),
        pytest.param({"metrics": [[math.inf], [1.0]]}, id="an infinite metric"),
    ],
)
def test_outcomes_that_cannot_be_true_are_refused(fields):
    with pytest.raises(MalformedMessageError):
        messages.decode_outcomes(outcomes_body(**fields), indices_of)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param([["a"], [], []], id="three parts"),
        pytest.param([["a"], [[0, "no traceback"]]], id="half a failure"),
        pytest.param([[1], []], id="a number as a name"),
        pytest.param(b'[["\\ud800"], []]', id="half a character as a name"),
        pytest.param(b'[["a"], [[0, "\\udce9", ""]]]', id="half a character in a text"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_outcomes_whose_header_is_none_are_refused(header):
    with pytest.raises(MalformedMessageError):
        messages.decode_outcomes(raw_outcomes_body(header), indices_of)


def test_a_description_that_is_nested_without_end_is_refused():
    with pytest.raises(MalformedMessageError):
        messages.decode_ready(b'[{"strategies":' + b"[" * 100_000)


@pytest.mark.parametrize("time", [-1, 2**63, 1.5, True, "now", None])
def test_a_source_with_a_time_that_is_none_is_refused(time):
    body = body_of(READY_FRAME, MessageKind.READY)
    wrong = body.replace(b"1000000000000000000", json.dumps(time).encode())
    assert wrong != body
    with pytest.raises(MalformedMessageError):
        messages.decode_ready(wrong)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        None,
        "numpy",
        {"numpy": 2},
        {"numpy": None},
        {"numpy": {"2": "3"}},
        {"numpy": "\ud800"},
        {"x" * (messages.MAX_INPUT_CHARACTERS + 1): "1"},
        {"x": "1" * (messages.MAX_INPUT_CHARACTERS + 1)},
        {str(number): "" for number in range(messages.MAX_INPUTS + 1)},
    ],
    ids=lambda inputs: ascii(inputs)[:20],
)
def test_inputs_that_are_none_are_refused(inputs):
    body = json.loads(body_of(READY_FRAME, MessageKind.READY))
    assert messages.decode_ready(json.dumps(body).encode()).inputs == {"numpy": "2.2.1"}
    body[2] = inputs
    with pytest.raises(MalformedMessageError):
        messages.decode_ready(json.dumps(body).encode())


class Bomb:
    """Unpickling it raises."""

    def __reduce__(self):
        return pytest.fail, ("a worker's bytes were unpickled",)


def test_no_pickle_is_read_from_a_worker():
    bomb = pickle.dumps(Bomb())
    with pytest.raises(MalformedMessageError):
        messages.decode_ready(bomb)
    with pytest.raises(MalformedMessageError):
        messages.decode_outcomes(bomb, indices_of)
    with pytest.raises(MalformedMessageError):
        messages.decode_outcomes(raw_outcomes_body(bomb), indices_of)
