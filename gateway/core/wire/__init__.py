"""Wire formats: what a request in each of them asks for, and how it is put into what an upstream speaks."""
