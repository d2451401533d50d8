package trainer

import (
	"strconv"
	"strings"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
)

// placement is where a run computes.
type placement struct {
	device int    // torch.CPU or the number of a CUDA device
	note   string // what people should know of the choice
}

// place decides it from the config: device cpu, cuda, cuda:N, or auto, which takes the first GPU that can be
// used. A GPU computes products in bfloat16 only. This is the process's first call into libtorch when it may
// need a GPU.
func place(c config.Run) (placement, error) {
	host := placement{device: torch.CPU}
	if c.Device == "cpu" || (c.Device == "auto" && (c.Precision != "bf16" || forced(c) != "")) {
		return host, nil
	}
	if key := forced(c); key != "" {
		return host, record.Fail(record.Usage, "%s is set, and device %s: that is a choice among steps of the CPU; set %s: auto, or device: cpu", key, c.Device, key)
	}
	if c.Precision != "bf16" {
		return host, record.Fail(record.Usage, "precision %s on %s: a GPU computes products in bfloat16; set precision: bf16, or device: cpu", c.Precision, c.Device)
	}
	devices, err := torch.OpenCUDA()
	if err != nil {
		return host, err
	}
	if c.Device == "auto" {
		if devices.Count > 0 {
			return placement{device: 0}, nil
		}
		if strings.Contains(devices.Reason, "setup-cuda") { // there is a driver, so people expect its GPU
			host.note = "training on the CPU: " + devices.Reason
		}
		return host, nil
	}
	if devices.Count == 0 {
		return host, record.Fail(record.DeviceLost, "device %s: %s; set device: cpu or auto to train without it", c.Device, devices.Reason)
	}
	n, err := deviceNumber(c.Device)
	if err != nil {
		return host, err
	}
	if n >= devices.Count {
		return host, record.Fail(record.Usage, "device %s: there are %d GPUs, cuda:0 to cuda:%d", c.Device, devices.Count, devices.Count-1)
	}
	return placement{device: n}, nil
}

// forced is the key by which a config insists on a step of the CPU; empty: it does not.
func forced(c config.Run) string {
	switch {
	case c.Step != config.StepAuto:
		return "step"
	case c.ISA != config.ISAAuto:
		return "isa"
	}
	return ""
}

// deviceNumber reads the number of cuda or cuda:N.
func deviceNumber(device string) (int, error) {
	_, number, given := strings.Cut(device, ":")
	if !given {
		return 0, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0, record.Fail(record.Usage, "device %q: cuda or cuda:N, with a number from 0", device)
	}
	return n, nil
}
