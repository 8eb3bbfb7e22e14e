"""The program that decompresses one file in the cage: standard input to standard output, holes where zeros were."""
