"""Two Ray nodes on one machine, one of which is lost in the middle."""

import pytest

pytest.importorskip("ray")

import ray
from ray.cluster_utils import Cluster

from codec.batch import Settings, run, verify_set
from tests.batch.conftest import deadly_plugin, make_pictures, results, rows_of
from tests.batch.test_shards import coded, make_shard, members_of

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    """A head without CPUs, so that all work is done on the two nodes."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.nodes = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_one_deadly_picture_does_not_cost_its_shard(tmp_path, crop, monkeypatch):
    deadly_plugin(tmp_path / "site", monkeypatch)
    members = {f"{n}.png": coded(crop[n : 40 + n, :40]) for n in range(4)}
    make_shard(tmp_path / "in" / "a.tar", members | {"2.png": b"DEADLY", "2.txt": b"label"})
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    monkeypatch.chdir(tmp_path)  # where the actors do not run
    try:
        summary = run(Settings("in", "out"), engine="ray")
    finally:
        ray.shutdown()
    assert (summary.ok, summary.failed) == (3, 1)
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    assert "2 worker processes ended on it" in rows["a.tar/2.png"]["error"]
    assert set(members_of(tmp_path / "out" / "a.tar")) == {"0.cci", "1.cci", "2.txt", "3.cci"}


@pytest.fixture
def whole(tmp_path, crop):
    make_pictures(tmp_path / "in", crop, 60)
    for number in range(3):
        (tmp_path / "in" / f"broken{number}.png").write_bytes(b"broken")
    run(Settings(str(tmp_path / "in"), str(tmp_path / "whole")), workers=1)
    return tmp_path


@pytest.fixture
def engines(monkeypatch):
    """The engines of this test, and how many pictures each lost actor held."""
    from codec.batch.cluster import RayEngine

    found, held = [], []
    begin, bury = RayEngine.__init__, RayEngine._bury

    def beginning(self, *arguments):
        found.append(self)
        begin(self, *arguments)

    def burying(self, actor, error):
        held.append(sum(len(units) for units in actor.calls.values()))
        return bury(self, actor, error)

    monkeypatch.setattr(RayEngine, "__init__", beginning)
    monkeypatch.setattr(RayEngine, "_bury", burying)
    return found, held


def test_a_lost_node_costs_nothing_but_time(cluster, engines, whole):
    settings = Settings(str(whole / "in"), str(whole / "out"))
    (engine_of, held), removed = engines, []

    def watch(done, summary, total):
        both_at_work = all(actor.calls for actor in engine_of[0]._actors)
        if summary.units >= 8 and both_at_work and not removed:
            removed.append(summary.units)
            cluster.remove_node(cluster.nodes[1], allow_graceful=False)

    summary = run(settings, engine="ray", watch=watch)
    assert removed
    assert removed[0] < 50
    assert sum(held) > 0  # what the node was at was lost, and done again
    assert (summary.ok, summary.failed) == (60, 3)
    assert results(whole / "out") == results(whole / "whole")
    seen, expected = (rows_of(whole / name / "manifest.parquet") for name in ("out", "whole"))
    for row in (*seen.values(), *expected.values()):
        row.pop("seconds")
    assert seen == expected
    found = verify_set(str(whole / "out"), engine="ray")
    assert (found.sound, found.problems) == (60, [])
