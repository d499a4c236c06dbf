package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
)

// The types of the PDUs that are used, of the NVM Express TCP Transport Specification.
const (
	pduInitializeRequest  = 0x00
	pduInitializeResponse = 0x01
	pduCommand            = 0x04
	pduResponse           = 0x05
)

const (
	// headerSize is the size in bytes of the common header of every PDU.
	headerSize = 8
	// initializeSize is the size of the request that initializes a connection, and of its response.
	initializeSize = 128
	// commandSize is a command's header with its submission queue entry.
	commandSize = headerSize + 64
	// responseSize is the header of a response with its completion queue entry.
	responseSize = headerSize + 16
	// connectDataSize is the size of the data that a Connect command carries.
	connectDataSize = 1024
	// maxPDU bounds what is read. The largest PDU that a target sends here is initializeSize.
	maxPDU = 8192
	// maxNQN is the longest NQN in bytes that the NVM Express Base Specification allows.
	maxNQN = 223
)

// errProtocol says that what answers isn't an NVMe/TCP target.
var errProtocol = errors.New("it doesn't speak NVMe/TCP")

// header returns a PDU of a given size with its common header. Data, if there is any, begins at dataOffset.
func header(kind, headerLength, dataOffset byte, size int) []byte {
	pdu := make([]byte, size)
	pdu[0], pdu[2], pdu[3] = kind, headerLength, dataOffset
	binary.LittleEndian.PutUint32(pdu[4:], uint32(size)) //nolint:gosec // at most maxPDU
	return pdu
}

// initializeRequest asks for format 0 without digests, and for one transfer at a time: all of them are zeros.
func initializeRequest() []byte {
	return header(pduInitializeRequest, initializeSize, 0, initializeSize)
}

// connectCommand opens the admin queue of a new controller of the subsystem. It is the Connect command of the NVM Express Base
// Specification in a command capsule of the TCP transport.
func connectCommand(subsystemNQN, hostNQN string) []byte {
	pdu := header(pduCommand, commandSize, commandSize, commandSize+connectDataSize)
	entry := pdu[headerSize:commandSize]
	entry[0] = 0x7f                                            // Fabrics
	entry[1] = 0x40                                            // the data is described by an SGL
	entry[4] = 0x01                                            // Connect
	binary.LittleEndian.PutUint32(entry[32:], connectDataSize) // SGL: length
	entry[39] = 0x01                                           // SGL: the data is in this capsule, at the offset 0
	binary.LittleEndian.PutUint16(entry[44:], 31)              // entries of the queue, minus 1
	// No keep-alive time-out is asked for: the connection is to end when the target says so, and not because nothing is said.
	data := pdu[commandSize:]
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(hostNQN))
	copy(data, id[:])
	binary.LittleEndian.PutUint16(data[16:], 0xffff) // any controller
	copy(data[256:256+maxNQN], subsystemNQN)
	copy(data[512:512+maxNQN], hostNQN)
	return pdu
}

// readPDU reads one PDU.
func readPDU(from io.Reader) ([]byte, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size < headerSize || size > maxPDU {
		return nil, fmt.Errorf("%w: a PDU of %d bytes", errProtocol, size)
	}
	pdu := make([]byte, size)
	copy(pdu, head)
	_, err := io.ReadFull(from, pdu[headerSize:])
	return pdu, err
}

// expect reads one PDU of that kind and size.
func expect(from io.Reader, kind byte, size int) ([]byte, error) {
	pdu, err := readPDU(from)
	switch {
	case err != nil:
		return nil, err
	case pdu[0] != kind || len(pdu) != size:
		return nil, fmt.Errorf("%w: a PDU of type %#02x and %d bytes, want type %#02x and %d bytes", errProtocol, pdu[0], len(pdu), kind, size)
	}
	return pdu, nil
}

// status returns the status of a response: 0 is success.
func status(response []byte) uint16 {
	return binary.LittleEndian.Uint16(response[headerSize+14:]) >> 1
}
