package tcp

// Open is open, for tests.
var Open = open
