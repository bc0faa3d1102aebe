"""The topology reader: the real file holds together, and each kind of mistake is refused by its place."""

from __future__ import annotations

import pytest

from infra.local import topology

TEXT = """
[gateway]
port = 8080
admin_port = 8081
calls = ["auth"]
[parts]
postgres = { port = 7432 }
redis = { port = 7379 }
kafka = { port = 7092, controller_port = 7093 }
stripe = { port = 7420 }
mail = { smtp_port = 7425, port = 7480 }
[services.auth]
port = 7110
metrics_port = 7210
workers = 2
database = "auth"
topic = "berth.auth.v1"
calls = []
consumes = []
secrets = ["BERTH_MASTER_KEY"]
[services.booking]
port = 7130
metrics_port = 7230
workers = 1
database = "booking"
topic = "berth.booking.v1"
background = true
calls = ["auth"]
consumes = ["berth.auth.v1"]
secrets = []
env = { BERTH_X = "{smtp_host}" }
"""


def test_the_real_file_is_read() -> None:
    mesh = topology.read()
    assert list(mesh.services)[:5] == ["auth", "inventory", "booking", "payment", "notification"]
    assert mesh.services["booking"].calls == ("auth", "inventory", "payment")


def test_callers_topics_and_dead_letters_derive() -> None:
    mesh = topology.parse(TEXT)
    assert mesh.callers_of("auth") == ("booking", "gateway")
    assert mesh.callers_of("booking") == ()
    assert mesh.topics() == ("berth.auth.v1", "berth.booking.v1")
    assert mesh.dead_letter_topics() == ("berth.auth.v1.booking.dlq",)
    assert mesh.services["booking"].env == {"BERTH_X": "{smtp_host}"}
    assert mesh.services["booking"].worker_role == "booking_worker"
    assert mesh.services["booking"].background
    assert not mesh.services["auth"].background


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('calls = ["auth"]\nconsumes', 'calls = ["autz"]\nconsumes', "booking calls autz"),
        ('consumes = ["berth.auth.v1"]', 'consumes = ["berth.nobody.v1"]', "berth.nobody.v1"),
        ("port = 7130", "port = 7111", "port 7111 is given to auth and to booking"),
        ("port = 7130", 'port = "7130"', "topology.services.booking.port"),
        ("workers = 1", "workers = 0", "from 1 to 9"),
        ("workers = 1", "workers = true", "from 1 to 9"),
        ('database = "booking"', 'database = "auth"', "database auth is given to auth and to booking"),
        ("admin_port = 8081", "", "topology.gateway.admin_port: missing"),
        ('secrets = ["BERTH_MASTER_KEY"]', "secrets = [1]", "secrets: a list of texts"),
        ("background = true", 'background = "no"', "background: true or false"),
        ("[gateway]", "[gateway", "not TOML"),
    ],
)
def test_a_mistake_is_refused_by_its_place(old: str, new: str, says: str) -> None:
    assert old in TEXT
    with pytest.raises(topology.TopologyError, match="(?s)" + says.replace(".", r"\.")):
        topology.parse(TEXT.replace(old, new, 1))
