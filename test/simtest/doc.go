// Package simtest starts a simulated appliance for a test and gives what a client needs to reach it.
package simtest
