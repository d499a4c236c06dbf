// Package target is the HTTP port of the simulator, on loopback. Initiators use
// it: a process that plays a node's kernel asks here to be connected to a
// subsystem and is told the backing file, and later that the subsystem was
// taken away. Observers look at it, and whoever wants something to go wrong
// says so here.
//
// For initiators:
//
//	POST   /v1/connect        {"subsystemNQN":"…","hostNQN":"…"}
//	                          403 if not exported to that host, 503 if the target is down, else 200 and
//	                          JSON lines: {"event":"connected","session":"…","file":"…","size":N,…}, later {"event":"revoked"}.
//	                          The stream ends without a word when the appliance goes down.
//	DELETE /v1/sessions/{id}  the initiator has no way left to do I/O; 204
//
// For observers: GET /v1/disks, /v1/sessions, /v1/revocations, /v1/phase
// ({"phase":"up"}, "down" or "starting") and /v1/healthz.
//
// For trouble, which the caller of [New] provides:
//
//	POST   /v1/faults     {"name":"reply lost","when":{"command":"/disk add","nth":2,"times":1}}
//	                      {"kind":"late","delay":"5s","when":{"probability":0.1,"seed":7}}
//	                      201; names, kinds and their fields (statements, keep, line, lines, policy, delay, boot)
//	                      are those of package sim, when is its type When: everything is optional, {} is every time
//	GET    /v1/faults     what was asked for, and how often each struck
//	DELETE /v1/faults     nothing goes wrong any more; 204
//	POST   /v1/reboot     {"emptyListings":true,"exportsOff":true}, or no body; 200 and the phase
//	POST   /v1/power-cut  the same, and what was written within the flash delay is lost
//
// server.go routes and serves, connect.go holds the stream of one session.
package target
