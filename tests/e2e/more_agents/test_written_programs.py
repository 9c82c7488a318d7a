"""The programs that `comptroller connect` writes for LangChain and Pydantic AI run as they are."""

import pytest

from tests.e2e.agents.books import told, written
from tests.e2e.agents.programs import connect, homes, program, run
from tests.e2e.more_agents.clients import PYTHON, QUIET
from tests.e2e.more_agents.runs import MODEL

pytestmark = pytest.mark.xdist_group("agents")


@pytest.mark.parametrize("agent", ["langchain", "pydantic-ai"])
def test_it_answers_and_is_booked_on_the_session_that_it_names(gateway, upstream, tmp_path, before, agent):
    upstream.script(text="hello there")
    home, project = homes(tmp_path)
    connect(agent, gateway, MODEL, home, project)
    (file,) = project.iterdir()
    ran = run([program(PYTHON), file.name], project, {**QUIET, "COMPTROLLER_API_KEY": gateway.keys["alice"]}, home=home)
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    (row,) = upstream.log()
    (call,) = gateway.settled()[before:]
    assert written(call) == told(row)
    sessions = gateway.cli("sessions", "list", "--json").json
    assert [each["client_id"] for each in sessions if each["id"] == call["session_id"]] == ["ticket-7"]
