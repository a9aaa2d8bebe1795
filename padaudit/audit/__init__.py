"""From a graph to padding sites, and from sites to findings."""
