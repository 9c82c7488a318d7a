"""The data plane, a station a file: edge -> identify -> authorize -> reserve -> forward -> settle -> record."""
