"""A small MCP server with notes in memory: the tool server behind the gateway in this example.

python server.py                     over stdio
python server.py --http 9105         over HTTP, at http://127.0.0.1:9105/mcp
"""

import argparse

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel


class Note(BaseModel):
    id: int
    text: str


class Found(BaseModel):
    notes: list[Note]


class NoteStore:
    def __init__(self) -> None:
        self._notes: dict[int, Note] = {}
        self._last_id = 0

    def add_note(self, text: str) -> Note:
        """Keep a note."""
        self._last_id += 1
        note = self._notes[self._last_id] = Note(id=self._last_id, text=text)
        return note

    def search_notes(self, query: str = "") -> Found:
        """Find notes whose text holds the query; an empty query finds all."""
        return Found(notes=[note for note in self._notes.values() if query.lower() in note.text.lower()])

    def delete_note(self, id: int) -> str:  # noqa: A002 - the name that clients see
        """Delete a note for good."""
        if self._notes.pop(id, None) is None:
            raise ValueError(f"there is no note {id}")
        return f"note {id} is deleted"


def make_server() -> MCPServer:
    store = NoteStore()
    server = MCPServer("notes", version="1.0", log_level="ERROR")
    server.tool()(store.add_note)
    server.tool(annotations=ToolAnnotations(read_only_hint=True))(store.search_notes)
    server.tool(annotations=ToolAnnotations(destructive_hint=True))(store.delete_note)
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve HTTP on this port instead of stdio")
    port = parser.parse_args().http
    if port is None:
        make_server().run()
    else:
        make_server().run("streamable-http", host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
