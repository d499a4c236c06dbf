package nvmetcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// errProtocol ends a connection whose initiator sends something else than what
// opens an admin queue.
var errProtocol = errors.New("not what opens an admin queue")

// The sizes of the PDUs, and where in a Connect command's data the names stand.
const (
	initializeSize = 128
	commandSize    = 72 + 1024
	responseSize   = 24
	subsystemAt    = 72 + 256
	hostAt         = 72 + 512
	nameSize       = 256
)

// The status of a Connect, with the flag that trying again is useless.
const (
	statusNoSubsystem = 0x4182
	statusNotAllowed  = 0x4184
)

// acceptInitialize reads the request that initializes a connection and answers.
func acceptInitialize(conn io.ReadWriter) error {
	request := make([]byte, initializeSize)
	if _, err := io.ReadFull(conn, request); err != nil {
		return err
	}
	if request[0] != 0x00 || binary.LittleEndian.Uint32(request[4:]) != initializeSize {
		return errProtocol
	}
	response := make([]byte, initializeSize)
	response[0], response[2] = 0x01, initializeSize
	binary.LittleEndian.PutUint32(response[4:], initializeSize)
	binary.LittleEndian.PutUint32(response[12:], 0x20000) // MAXH2CDATA
	_, err := conn.Write(response)
	return err
}

// connect is a Connect command for an admin queue.
type connect struct {
	subsystem, host string
	id              uint16
}

func readConnect(conn io.Reader) (connect, error) {
	pdu := make([]byte, commandSize)
	if _, err := io.ReadFull(conn, pdu); err != nil {
		return connect{}, err
	}
	entry := pdu[8:72]
	switch {
	case pdu[0] != 0x04, binary.LittleEndian.Uint32(pdu[4:]) != commandSize, // a command with its data
		entry[0] != 0x7f || entry[4] != 0x01,           // Fabrics, Connect
		entry[1] != 0x40 || entry[39] != 0x01,          // SGL, data in the capsule
		binary.LittleEndian.Uint32(entry[32:]) != 1024, // all of it
		binary.LittleEndian.Uint16(entry[42:]) != 0,    // the admin queue
		binary.LittleEndian.Uint16(entry[44:]) == 0,    // with more than one entry
		binary.LittleEndian.Uint16(pdu[88:]) != 0xffff: // of a new controller
		return connect{}, errProtocol
	}
	return connect{subsystem: name(pdu[subsystemAt:]), host: name(pdu[hostAt:]), id: binary.LittleEndian.Uint16(entry[2:])}, nil
}

func name(field []byte) string {
	text, _, _ := bytes.Cut(field[:nameSize], []byte{0})
	return string(text)
}

// respond answers the command.
func respond(conn io.Writer, command, status uint16) error {
	pdu := make([]byte, responseSize)
	pdu[0], pdu[2] = 0x05, responseSize
	binary.LittleEndian.PutUint32(pdu[4:], responseSize)
	if status == 0 {
		binary.LittleEndian.PutUint16(pdu[8:], 1) // the controller's ID
	}
	binary.LittleEndian.PutUint16(pdu[20:], command)
	binary.LittleEndian.PutUint16(pdu[22:], status<<1)
	_, err := conn.Write(pdu)
	return err
}
