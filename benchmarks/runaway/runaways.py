"""Agents that have lost their way, each in its own. They go on until they are stopped, or `TURNS_MAX` turns long."""

from collections.abc import Awaitable, Callable, Mapping

from benchmarks.runaway.agent import Agent, Use

TURNS_MAX = 120
PAGE = "The documentation of this endpoint has moved. Sign in to continue. " * 6


async def same_question(agent: Agent) -> None:
    for _ in range(TURNS_MAX):
        agent.begin("What is the status of the nightly export?")
        await agent.answer("I cannot see the export from here.")


async def same_question_new_id(agent: Agent) -> None:
    for _ in range(TURNS_MAX):
        agent.begin(
            f"Request {agent.uuid()} at {agent.clock()}: what is the status of the nightly export of all regions?"
        )
        await agent.answer("I cannot see the export from here.")


async def two_questions_in_turns(agent: Agent) -> None:
    for turn in range(TURNS_MAX):
        agent.begin(("Plan the next step.", "Review the plan.")[turn % 2])
        await agent.answer(("Review the plan first.", "Plan the next step first.")[turn % 2])


async def same_tool_call(agent: Agent) -> None:
    agent.begin("Find out why the build is red.")
    for _ in range(TURNS_MAX):
        await agent.step("read_file", "import sys\nprint(sys.path)\n", path="build.py")


async def same_tool_call_streamed(agent: Agent) -> None:
    agent.stream = True
    await same_tool_call(agent)


async def same_tool_call_new_clock(agent: Agent) -> None:
    agent.begin("Wait until the deployment is through.")
    for _ in range(TURNS_MAX):
        result = f'{{"state": "blocked", "trace": "{agent.uuid()}", "checked_at": "{agent.clock()}"}}'
        await agent.step("status", result, job="deploy-7")


async def same_tool_call_nagged(agent: Agent) -> None:
    agent.begin("Get the report.")
    for turn in range(TURNS_MAX):
        await agent.step("query", "The view quarterly_report holds no rows for this region.", sql="SELECT * FROM v")
        agent.say(f"Attempt {turn + 1} did not work, try again.")


async def same_batch(agent: Agent) -> None:
    agent.begin("Compare the three services.")
    for _ in range(TURNS_MAX):
        await agent.use(*(Use("status", {"service": name}, f"{name} answers as usual") for name in ("a", "b", "c")))


async def only_the_last_step_sent(agent: Agent) -> None:
    """A client with a window of one step: system text, a note with the time, the latest call and its result."""
    for _ in range(TURNS_MAX):
        agent.begin(f"It is {agent.clock()}. Go on.") if not agent.messages else None
        await agent.step("read_file", "import sys\nprint(sys.path)\n", path="build.py")
        agent.messages = [{"role": "system", "content": f"Go on. It is {agent.clock()}."}, *agent.messages[-2:]]


async def ping_pong(agent: Agent) -> None:
    agent.begin("Make the two configuration files agree.")
    for _ in range(TURNS_MAX // 2):
        await agent.step("read_file", "port: 8080\n", path="a.yaml")
        await agent.step("read_file", "port: 9090\n", path="b.yaml")


async def ping_pong_new_ids(agent: Agent) -> None:
    agent.begin("Have the draft approved.")
    for _ in range(TURNS_MAX // 2):
        await agent.step("delegate", f"writer {agent.uuid()}: the reviewer must approve it first", to="writer")
        await agent.step("delegate", f"reviewer {agent.uuid()}: the writer must change it first", to="reviewer")


async def cycle_of_four(agent: Agent) -> None:
    agent.begin("Bring the service up.")
    for _ in range(TURNS_MAX // 4):
        await agent.step("status", "service down", service="api")
        await agent.step("read_file", "restart: never\n", path="unit.conf")
        await agent.step("deploy", "deployment refused: service is down", service="api")
        await agent.step("search", "1 page: how to bring a service up", q="service down")


async def long_cycle(agent: Agent) -> None:
    agent.begin("Understand the code base.")
    for turn in range(TURNS_MAX):
        await agent.step("read_file", f"# module {turn % 7}\nimport core\n", path=f"src/part{turn % 7}.py")


async def reworded_search(agent: Agent) -> None:
    agent.begin("Find the supplier's tax number.")
    for turn in range(TURNS_MAX):
        await agent.step("search", "No results found.", q=f"{agent.words(3)} tax number {turn}")


async def same_page_for_all(agent: Agent) -> None:
    agent.begin("Read the whole reference.")
    for page in range(TURNS_MAX):
        await agent.step("fetch", PAGE, url=f"https://docs.example.com/reference?page={page}")


async def error_storm(agent: Agent) -> None:
    agent.begin("Import the data.")
    for turn in range(TURNS_MAX):
        error = f"Error: {agent.word()} {agent.word()} is not a known {agent.word()} (ref {agent.uuid()})"
        await agent.step("query", error, sql=f"SELECT {agent.word()} FROM t{turn}")


async def nothing_new_said(agent: Agent) -> None:
    agent.begin("Write the migration guide.")
    for turn in range(TURNS_MAX):
        await agent.answer(
            f"I am still working on it; step {turn + 1} is under way and I will go on with the next one."
        )
        agent.say("Continue.")


async def provider_hammered(agent: Agent) -> None:
    agent.begin("Summarise the quarter.")
    for _ in range(TURNS_MAX):
        await agent.fail(patient=False)


async def lost_sub_agent(agent: Agent) -> None:
    """Three sub-agents work, one runs in circles."""
    agent.begin("Split the work in four.")
    workers = [agent.another(f"Part {part}: {agent.words(6)}") for part in range(4)]
    for turn in range(TURNS_MAX // 4):
        for part, worker in enumerate(workers[:3]):
            await worker.step("read_file", f"{part} {turn} {agent.words(20)}", path=f"p{part}/f{turn}.py")
        await workers[3].step("read_file", "import sys\n", path="build.py")


async def mcp_same_call(agent: Agent) -> None:
    for _ in range(TURNS_MAX):
        await agent.mcp("status", "blocked", job="deploy-7")


async def mcp_ping_pong(agent: Agent) -> None:
    for _ in range(TURNS_MAX // 2):
        await agent.mcp("lookup", "see b", path="a")
        await agent.mcp("lookup", "see a", path="b")


async def mcp_flood(agent: Agent) -> None:
    for turn in range(TURNS_MAX):
        await agent.mcp("search", "[]", query=f"{agent.words(2)} {turn}")


async def mcp_error_storm(agent: Agent) -> None:
    for turn in range(TURNS_MAX):
        await agent.mcp(
            "lookup", f"{agent.word()} {turn} cannot be reached", failed=True, path=f"{agent.word()}/{turn}"
        )


async def model_and_mcp(agent: Agent) -> None:
    """The same call seen twice, in the model's traffic and on MCP: counted once."""
    agent.begin("Wait for the job.")
    for _ in range(TURNS_MAX):
        await agent.mcp("status", "blocked", job="deploy-7")
        await agent.step("desk__status", "blocked", job="deploy-7")


RUNAWAYS: Mapping[str, Callable[[Agent], Awaitable[None]]] = {
    shape.__name__: shape
    for shape in (
        *(same_question, same_question_new_id, two_questions_in_turns, same_tool_call, same_tool_call_streamed),
        *(same_tool_call_new_clock, same_tool_call_nagged, same_batch, only_the_last_step_sent, ping_pong),
        *(ping_pong_new_ids, cycle_of_four, long_cycle, reworded_search, same_page_for_all, error_storm),
        *(nothing_new_said, provider_hammered, lost_sub_agent, mcp_same_call, mcp_ping_pong, mcp_flood),
        *(mcp_error_storm, model_and_mcp),
    )
}
