// Package search looks for an order of events that breaks one of the driver's promises.
package search
