"""The data plane: one station of the line a file. edge -> identify -> authorize -> reserve -> forward -> settle -> record."""
