"""An honest agent: it asks what it may use, does as many of its questions as fit, and finishes within its budget.

COMPTROLLER_URL=http://127.0.0.1:8080 COMPTROLLER_API_KEY=cptr_sk_... python agent.py
"""

import asyncio

from loop import Agent, connected

TOPICS = ("rate limits", "double-entry books", "tamper evidence", "loop detection", "fair queues", "hash chains")


async def main() -> None:
    async with connected("librarian-run") as (openai, gateway):
        agent = Agent(openai, gateway)
        await agent.run(f"call quota_status and plan: {', '.join(TOPICS)}. [words:40]")
        done, dearest = 0, 0
        for topic in TOPICS:
            left = await agent.tokens_left()
            # What the dearest question took so far, and as much again for the report, must still fit.
            if left < 2 * dearest:
                print(f"{left:,} tokens are left, and the report needs some: no further question")
                break
            print(f"question {done + 1}: {topic} ({left:,} tokens left)")
            before = agent.tokens
            await agent.run(f'call lookup {{"topic": "{topic}"}} and answer with what you found. [words:120]')
            done, dearest = done + 1, max(dearest, agent.tokens - before)
        report = await agent.run(f"Write the report on {done} topics. [words:150]")
        left = await agent.tokens_left()
    print(f"report: {report[:60]}...")
    print(f"finished: {done} of {len(TOPICS)} questions, {agent.calls} calls, {agent.tokens:,} tokens, {left:,} left")


if __name__ == "__main__":
    asyncio.run(main())
