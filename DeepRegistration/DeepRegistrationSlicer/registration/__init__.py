"""One registration of two nodes, from the request to the result in the scene; many, one after the other."""
