// Package sftpd is the SFTP subsystem of the simulated appliance: the tree of
// /file, as the policy ftp opens it.
//
// It translates between the protocol and a [Tree]; what files there are, how
// large they claim to be and what may be done to them is the appliance's
// business.
package sftpd
