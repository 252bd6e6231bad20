//go:build !linux

package sidecar

import "errors"

// Install fails: the redirect is Linux's.
func (r Redirect) Install() error { return errors.New("the redirect needs Linux") }
