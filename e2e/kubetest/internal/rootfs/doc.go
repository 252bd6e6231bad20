// Package rootfs writes the file systems of container images as tar archives:
// from single files, from directories, and from the Debian packages that are
// installed on this machine.
package rootfs
