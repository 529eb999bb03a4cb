package caddymodule

import (
	"math"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// unmarshalCaddyfile reads the block journal; App.UnmarshalCaddyfile has its
// syntax.
func (j *Journal) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	start := *d
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if read := journalOptions[option]; read == nil {
			return d.Errf("journal: unknown option %s; the options are: path, max_size, brokers, topic, partitions, replication, single_replica, session_timeout, tls, sasl, intent", option)
		} else if err := read(j, d); err != nil {
			return err
		}
	}
	if err := j.check(); err != nil {
		return start.WrapErr(err)
	}
	return nil
}

var journalOptions = map[string]func(j *Journal, d *caddyfile.Dispenser) error{
	"path": func(j *Journal, d *caddyfile.Dispenser) error { return one(d, &j.Path) },
	"max_size": func(j *Journal, d *caddyfile.Dispenser) error {
		var value string
		if err := one(d, &value); err != nil {
			return err
		}
		size, err := humanize.ParseBytes(value)
		if err != nil || size == 0 || size > math.MaxInt64 {
			return d.Errf("journal: max_size %s: write a size such as 10GB", value)
		}
		j.MaxSize = int64(size)
		return nil
	},
	"brokers": func(j *Journal, d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Err("journal: brokers takes one or more addresses, such as kafka-1:9092")
		}
		j.Brokers = append(j.Brokers, args...)
		return nil
	},
	"topic":       func(j *Journal, d *caddyfile.Dispenser) error { return one(d, &j.Topic) },
	"partitions":  func(j *Journal, d *caddyfile.Dispenser) error { return number(d, &j.Partitions) },
	"replication": func(j *Journal, d *caddyfile.Dispenser) error { return number(d, &j.Replication) },
	"single_replica": func(j *Journal, d *caddyfile.Dispenser) error {
		j.SingleReplica = true
		return none(d)
	},
	"session_timeout": func(j *Journal, d *caddyfile.Dispenser) error {
		value := ""
		if err := one(d, &value); err != nil {
			return err
		}
		return duration(d, "journal: session_timeout", value, &j.SessionTimeout)
	},
	"intent": func(j *Journal, d *caddyfile.Dispenser) error { return one(d, &j.Intent) },
	"tls": func(j *Journal, d *caddyfile.Dispenser) error {
		j.TLS = new(KafkaTLS)
		if err := none(d); err != nil {
			return err
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			switch option := d.Val(); option {
			case "ca":
				if err := one(d, &j.TLS.CAFile); err != nil {
					return err
				}
			case "client_cert":
				if !d.AllArgs(&j.TLS.CertFile, &j.TLS.KeyFile) {
					return d.Err("journal: client_cert takes the files of the certificate and of its key")
				}
			default:
				return d.Errf("journal: unknown option %s of tls; the options are: ca, client_cert", option)
			}
		}
		return nil
	},
	"sasl": func(j *Journal, d *caddyfile.Dispenser) error {
		j.SASL = new(KafkaSASL)
		if !d.AllArgs(&j.SASL.Mechanism, &j.SASL.User, &j.SASL.Password) {
			return d.Err("journal: sasl takes a mechanism, a user and a password")
		}
		return nil
	},
}

func one(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.AllArgs(to) {
		return d.Errf("journal: %s takes exactly one value", option)
	}
	return nil
}

func none(d *caddyfile.Dispenser) error {
	if option := d.Val(); d.NextArg() {
		return d.Errf("journal: %s takes no value", option)
	}
	return nil
}

func number(d *caddyfile.Dispenser, to *int) error {
	option, value := d.Val(), ""
	if err := one(d, &value); err != nil {
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return d.Errf("journal: %s %s: write a positive number", option, value)
	}
	*to = n
	return nil
}
