"""The intermediate representation: a graph of operators, and the padding sites in it."""
