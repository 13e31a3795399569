"""Uses a client that a generator has made of openapi.json as its author would: an agent and a session made, listed, used
and ended, a refusal read, and every answer of the type the document promises."""

import json
import os
import time

import httpx
from lap_client import AuthenticatedClient
from lap_client.api.agents import create_agent, delete_agent, get_agent, list_agents, list_harnesses, update_agent
from lap_client.api.events import follow_events
from lap_client.api.server import get_health, get_metrics, get_runtime_health
from lap_client.api.sessions import (
    create_session, delete_session, diagnose_session, get_session, list_sessions, restart_session, stop_session,
)
from lap_client.api.terminal import exec_in_session, get_session_log, get_session_recording
from lap_client.models import (
    Agent, AgentChange, AgentPatch, AgentRow, AgentSpec, AgentSpecEnvVars, CreateSession, Diagnosis, ErrorBody,
    ExecRequest, ExecResult, Harness, McpCommandServer, McpHttpServer, Session, SessionChange, SessionStatus,
)

URL, KEY = os.environ["LAP_TEST_URL"], os.environ["LAP_TEST_KEY"]
# Nothing here takes that long; what never comes ends then.
PATIENCE = 60
client = AuthenticatedClient(base_url=URL, token=KEY, timeout=httpx.Timeout(PATIENCE))


def of(kind, answer):
    assert isinstance(answer, kind), f"{kind.__name__} was promised: {answer!r}"
    return answer


def until_ready(session):
    """Follows the session's own stream, whose changes must be of the types the document has."""
    headers = {"authorization": f"Bearer {KEY}"}
    stream = httpx.stream("GET", f"{URL}/api/v1/managed_agents/sessions/{session.id}/events",
                          headers=headers, timeout=httpx.Timeout(PATIENCE))
    end = time.monotonic() + PATIENCE
    with stream as events:
        for line in events.iter_lines():
            now = of(Session, get_session.sync(session.id, client=client))
            assert now.status != SessionStatus.FAILED, now.failure_reason
            if now.status == SessionStatus.READY:
                return now
            assert time.monotonic() < end, now
            if line.startswith("data:"):
                of(SessionChange, SessionChange.from_dict(json.loads(line.removeprefix("data:"))))
    raise AssertionError("the stream ended")


assert get_health.sync(client=client).status == "ok"
assert get_runtime_health.sync(client=client).status == "ok"
assert "shell" in [of(Harness, harness).id for harness in list_harnesses.sync(client=client).data]

variables = AgentSpecEnvVars()
variables["TOKEN"] = "never-shown"
agent = of(Agent, create_agent.sync(client=client, body=AgentSpec(
    name="generated", model="none", harness_id="shell", env_vars=variables,
    mcp_servers=["named", McpHttpServer(name="far", url="https://mcp.example.org"),
                 McpCommandServer(name="near", command="true")],
)))
assert agent.env_vars.to_dict()["TOKEN"] != "never-shown"
assert [type(server) for server in agent.mcp_servers] == [str, McpHttpServer, McpCommandServer]

taken = of(ErrorBody, create_agent.sync(client=client, body=AgentSpec(name="generated", model="none")))
assert "generated" in taken.error, taken
refused = of(ErrorBody, create_agent.sync(client=client, body=AgentSpec(name="", model="")))
assert sorted(fault.path[0] for fault in refused.error) == ["model", "name"], refused

assert of(Agent, update_agent.sync(agent.id, client=client, body=AgentPatch(prompt="be brief"))).prompt == "be brief"
assert of(Agent, get_agent.sync(agent.id, client=client)).prompt == "be brief"
rows = list_agents.sync(client=client, search="GENER", limit=1)
assert [of(AgentRow, row).name for row in rows.data] == ["generated"] and rows.total == 1

session = of(Session, create_session.sync(agent.id, client=client, body=CreateSession(title="by a generated client")))
session = until_ready(session)
assert [of(Session, row).id for row in list_sessions.sync(client=client, status=SessionStatus.READY).data] == [session.id]
done = of(ExecResult, exec_in_session.sync(session.id, client=client, body=ExecRequest(command=["echo", "hello"])))
assert (done.exit_code, done.stdout) == (0, "hello\n"), done
of(Diagnosis, diagnose_session.sync(session.id, client=client))
assert of(Session, stop_session.sync(session.id, client=client)).status == SessionStatus.DEAD
session = until_ready(of(Session, restart_session.sync(session.id, client=client)))
assert delete_session.sync_detailed(session.id, client=client).status_code == 204
assert of(Session, get_session.sync(session.id, client=client)).status == SessionStatus.DEAD
assert isinstance(get_session_log.sync(session.id, client=client), str)
assert isinstance(get_session_recording.sync(session.id, client=client), (str, ErrorBody))
assert "http_requests_total" in get_metrics.sync(client=client)

# The feed from its beginning: the first change is the agent's.
arguments = follow_events._get_kwargs(last_event_id="0")
with client.get_httpx_client().stream(**arguments) as events:
    first = next(line for line in events.iter_lines() if line.startswith("data:"))
assert of(AgentChange, AgentChange.from_dict(json.loads(first.removeprefix("data:")))).data.name == "generated"

assert delete_agent.sync_detailed(agent.id, client=client).status_code == 204
assert "was not found" in of(ErrorBody, get_agent.sync(agent.id, client=client)).error
print("the generated client works")
