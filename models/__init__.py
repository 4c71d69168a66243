"""Networks as data: the graph, its readers, and the models this project ships."""
