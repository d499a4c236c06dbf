package csi

import (
	"strconv"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// publishContext is what the controller tells the node through publish_context. external-attacher also stores it as the
// VolumeAttachment's attachmentMetadata, where the generation lets us notice an appliance that went back in time.
type publishContext struct {
	target     nvme.Target
	generation uint64
}

const (
	keyNQN        = "subsystemNQN"
	keyAddress    = "address"
	keyPort       = "port"
	keyGeneration = "generation"
)

func (c publishContext) encode() map[string]string {
	return map[string]string{
		keyNQN:        c.target.SubsystemNQN,
		keyAddress:    c.target.Address,
		keyPort:       strconv.Itoa(int(c.target.Port)),
		keyGeneration: strconv.FormatUint(c.generation, 10),
	}
}

// decodePublishContext reads what encode wrote. Its errors are *invalidError.
func decodePublishContext(values map[string]string) (publishContext, error) {
	if values[keyNQN] == "" || values[keyAddress] == "" {
		return publishContext{}, &invalidError{field: "publish_context", want: keyNQN + " and " + keyAddress + ", as ControllerPublishVolume gave them"}
	}
	port, err := strconv.ParseUint(values[keyPort], 10, 16)
	if err != nil || port == 0 {
		return publishContext{}, &invalidError{field: "publish_context " + keyPort, want: "1 to 65535"}
	}
	generation, err := strconv.ParseUint(values[keyGeneration], 10, 64)
	if err != nil {
		return publishContext{}, &invalidError{field: "publish_context " + keyGeneration, want: "a whole number"}
	}
	target := nvme.Target{SubsystemNQN: values[keyNQN], Address: values[keyAddress], Port: uint16(port)}
	return publishContext{target: target, generation: generation}, nil
}
