"""The twin that does not look: it calls the same tool again and again and never comes to an end. The gateway ends it.

COMPTROLLER_URL=http://127.0.0.1:8080 COMPTROLLER_API_KEY=cptr_sk_... python runaway.py
"""

import asyncio
import json
import sys

from loop import Agent, connected
from openai import APIStatusError


async def main() -> int:
    async with connected("parrot-run") as (openai, gateway):
        agent = Agent(openai, gateway)
        try:
            await agent.run('call lookup {"topic": "parrots"} [loop]')
        except APIStatusError as refused:
            # The SDK retries as it comes, but not here: the refusal says that trying again does not help.
            tell(agent, refused)
            return 0
        print("nobody stopped it")
        return 1


def tell(agent: Agent, refused: APIStatusError) -> None:
    denial = refused.body if isinstance(refused.body, dict) else {}
    print(
        f"stopped after {agent.calls} answers and {agent.tokens:,} tokens: HTTP {refused.status_code}, {refused.code}"
    )
    print(f"  {denial.get('message')}")
    print(f"  error.comptroller: {json.dumps(denial.get('comptroller'))}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
