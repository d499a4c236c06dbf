package export

// Kernel is a real NVMe/TCP target that shows to real initiators what the
// registry says. It is called for one change at a time, in their order, and
// has carried it out when it returns: what it can't do it reports by itself.
type Kernel interface {
	// Publish makes a subsystem reachable, and listens if it doesn't yet.
	Publish(s Subsystem)
	// Update brings allowed host and size of a published subsystem in line;
	// connections stay.
	Update(s Subsystem)
	// Withdraw ends every connection to the subsystem, and the subsystem.
	Withdraw(s Subsystem)
	// Lose withdraws everything and stops listening.
	Lose()
	// Restore listens, even without any subsystem. Doing so twice is fine.
	Restore()
}
