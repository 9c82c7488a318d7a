"""Agents that work, long and often the same way: none of them may be stopped. Scripts with a seed, so that each is
another run of its kind."""

from collections.abc import Awaitable, Callable, Mapping

from benchmarks.runaway.agent import Agent, Use, together

TODO_DONE = (
    "Todos have been modified successfully. Ensure that you continue to use the todo list to track your progress. "
    "Please proceed with the current tasks if applicable"
)


async def coding(agent: Agent) -> None:
    """Read, edit, test, many times; the tests tell something else each time, the edits only that they are made."""
    agent.begin("Make the failing tests pass.")
    failing = agent.rng.randint(18, 30)
    while failing:
        if agent.rng.random() < 0.4:
            await agent.step("read_file", agent.words(60), path=f"src/{agent.word()}_{failing}.py")
        await agent.step("edit_file", "The file has been updated.", path=f"src/{agent.word()}.py", new=agent.words(12))
        failing -= agent.rng.randint(0, 2) if failing > 1 else 1
        await agent.step(
            "run_tests", f"{failing} failed, {90 - failing} passed in {agent.rng.random():.2f}s", args="-q"
        )


async def stuck_for_a_while(agent: Agent) -> None:
    """Six different edits change nothing in what the tests say; the seventh does."""
    agent.begin("Fix the rounding.")
    for round_ in range(4):
        for _ in range(6):
            await agent.step("edit_file", "OK", path="src/money.py", new=agent.words(10))
            await agent.step("run_tests", f"FAILED test_rounding_{round_} - assert 0.1 + 0.2 == 0.3\n1 failed", args="")
        await agent.step("read_file", agent.words(40), path=f"docs/rounding{round_}.md")


async def debugging(agent: Agent) -> None:
    agent.begin("Get the script to run.")
    for part in range(5):
        for kind in ("NameError", "TypeError", "KeyError", "ValueError", "ImportError", "IndexError")[: 3 + part % 4]:
            await agent.step("query", f"{kind}: {agent.word()} in line {agent.rng.randint(1, 90)}", code=agent.words(8))
        await agent.step("query", f"done, {agent.rng.randint(10, 999)} rows", code=agent.words(8))


async def research(agent: Agent) -> None:
    agent.begin("What do we know about this?")
    for _ in range(25):
        if agent.rng.random() < 0.25:
            await agent.step("search", "No results found.", q=agent.words(4))
        else:
            await agent.step("search", f"3 results: {agent.words(30)}", q=agent.words(3))
            await agent.step("fetch", agent.words(150), url=f"https://example.com/{agent.word()}/{agent.uuid()}")
    await agent.answer(agent.words(200))


async def polling(agent: Agent) -> None:
    agent.begin("Start the job and wait for it.")
    for percent in range(0, 100, 3):
        await agent.step("status", f'{{"state": "running", "progress": {percent}}}', job="j1")
    await agent.step("status", '{"state": "done"}', job="j1")


async def patient_polling(agent: Agent) -> None:
    """The job waits in a queue for a while; the agent sleeps in between."""
    agent.begin("Wait for the pipeline.")
    for state in ("queued", "building", "testing", "signing", "publishing"):
        for _ in range(3):
            await agent.step("sleep", "slept", seconds=30)
            await agent.step("status", f'{{"state": "{state}"}}', pipeline=812)


async def clock_polling(agent: Agent) -> None:
    """Nine times nothing new but the time."""
    agent.begin("Tell me when the queue is empty.")
    for left in (4, 3, 2, 1, 0):
        for _ in range(9 if left == 2 else 2):
            await agent.step("status", f'{{"waiting": {left}, "at": "{agent.clock()}"}}', queue="mail")


async def batch_extraction(agent: Agent) -> None:
    """No conversation: one request a document, the same instructions each time, some answers alike."""
    for number in range(60):
        amount = agent.rng.randint(10, 20)
        invoice = f"Invoice {agent.uuid()} of {agent.word()} {agent.word()}: total {amount} EUR ({number})"
        agent.begin(f"Extract the total.\n\n{invoice}", "Answer with the total only.")
        await agent.answer(f"{amount} EUR")


async def batch_writing(agent: Agent) -> None:
    agent.begin("Copy all rows into the new table.")
    for row in range(50):
        await agent.step("write_row", '{"ok": true}', id=row, text=agent.words(5))


async def batch_deleting(agent: Agent) -> None:
    agent.begin("Delete what is listed.")
    for _ in range(40):
        await agent.step("write_row", "deleted", id=agent.uuid())


async def classifying(agent: Agent) -> None:
    agent.begin("Label every ticket.")
    for ticket in range(60):
        await agent.step("classify", agent.rng.choice(("billing", "billing", "billing", "bug", "other")), ticket=ticket)


async def linting(agent: Agent) -> None:
    agent.begin("Check every module.")
    for module in range(45):
        await agent.step("lint", "No issues found.", path=f"src/m{module}.py")


async def planning(agent: Agent) -> None:
    """A todo list that is written again after each piece of work."""
    agent.begin("Do the whole list.")
    for item in range(25):
        await agent.step("todo_write", TODO_DONE, items=f"done up to {item}: {agent.words(6)}")
        await agent.step("read_file", agent.words(50), path=f"item{item}.md")
        await agent.step("git_status", "nothing to commit, working tree clean")


async def chatting(agent: Agent) -> None:
    agent.begin(agent.words(8))
    for turn in range(30):
        await agent.answer(agent.words(25))
        agent.say(
            agent.rng.choice(("ok", "thanks", "go on", agent.words(7), agent.words(9))) if turn else agent.words(4)
        )


async def sub_agents(agent: Agent) -> None:
    """Eight at once that all begin by reading the same file."""
    agent.begin("Split the work.")
    workers = [agent.another(f"Part {part}: {agent.words(6)}") for part in range(8)]
    for worker in workers:
        await worker.step("read_file", "# README\nread this first\n", path="README.md")
    for turn in range(8):
        await together(
            *(worker.step("read_file", agent.words(40), path=f"p{n}/{turn}.py") for n, worker in enumerate(workers))
        )


async def asking_many_times_at_once(agent: Agent) -> None:
    """Self-consistency: the same question eight times in parallel, then the next one."""
    for _ in range(5):
        text = agent.words(12)
        askers = [Agent(agent.player, agent.rng).begin(text) for _ in range(8)]
        await together(*(asker.answer(agent.words(3)) for asker in askers))


async def two_readings(agent: Agent) -> None:
    """All files once to understand them, all of them again to check."""
    agent.begin("Review the change.")
    files = {f"src/f{n}.py": agent.words(40) for n in range(16)}
    for _ in range(2):
        for path, text in files.items():
            await agent.step("read_file", text, path=path)
    await agent.answer(agent.words(80))


async def trimmed_window(agent: Agent) -> None:
    """A client that sends its latest ten messages only."""
    agent.begin("Work through the backlog.")
    for turn in range(40):
        await agent.step("read_file", agent.words(30), path=f"ticket{turn}.md")
        agent.messages = [agent.messages[0], *agent.messages[-10:]]


async def provider_down(agent: Agent) -> None:
    """The provider fails for a while; the client waits as it is told."""
    agent.begin("Summarise.")
    for _ in range(2):
        await agent.fail(patient=True)
    for _ in range(10):
        await agent.answer(agent.words(30))
        agent.say(agent.words(6))


async def parallel_tools(agent: Agent) -> None:
    agent.begin("Look at all services.")
    for _ in range(15):
        await agent.use(*(Use("status", {"service": f"s{n}"}, f"{agent.rng.randint(1, 99)} ms") for n in range(5)))


async def data_agent(agent: Agent) -> None:
    agent.begin("Where did the revenue go?")
    for turn in range(40):
        rows = agent.rng.choice(("[]", f"[[{turn}, {agent.rng.randint(1, 9999)}]]", f"[[{agent.rng.random():.3f}]]"))
        await agent.step("query", rows, sql=f"SELECT sum({agent.word()}) FROM {agent.word()} WHERE q = {turn}")


async def mcp_notes(agent: Agent) -> None:
    for turn in range(40):
        await agent.mcp("write", "saved", path=f"notes/{turn}", text=agent.words(6))
        if turn % 3 == 0:
            await agent.mcp("lookup", agent.words(20), path=f"notes/{turn}")


async def mcp_polling(agent: Agent) -> None:
    for percent in range(0, 100, 4):
        await agent.mcp("status", f"{percent} percent", job="export")


async def mcp_parallel(agent: Agent) -> None:
    """The same look-up by several workers at the same time."""
    for turn in range(4):
        await together(*(agent.mcp("lookup", f"page {turn}", path="index") for _ in range(8)))


async def mcp_flaky(agent: Agent) -> None:
    for turn in range(12):
        for _ in range(agent.rng.randint(0, 3)):
            await agent.mcp("lookup", "timed out", failed=True, path=f"slow/{turn}")
        await agent.mcp("lookup", agent.words(15), path=f"slow/{turn}")


HONEST: Mapping[str, Callable[[Agent], Awaitable[None]]] = {
    shape.__name__: shape
    for shape in (
        *(coding, stuck_for_a_while, debugging, research, polling, patient_polling, clock_polling, batch_extraction),
        *(batch_writing, batch_deleting, classifying, linting, planning, chatting, sub_agents),
        *(asking_many_times_at_once, two_readings, trimmed_window, provider_down, parallel_tools, data_agent),
        *(mcp_notes, mcp_polling, mcp_parallel, mcp_flaky),
    )
}
