// Package ledger is the memory and the judge of the fault tests: what was sent, what was answered, and
// whether what Kafka holds agrees with both. It is plain code without network, clock or goroutine.
//
// A Producer is one client: a unary caller, a stream or a batch stream. It sends events, each of which may be
// sent more than once (Again); each Sending gets one answer: acknowledged with a position, refused, or
// unknown (said by the gateway, or no answer came at all). The Judge is fed every record that Kafka holds and
// names every violation:
//
//	P1  lost             acknowledged, and nowhere in Kafka
//	P2  phantom          stored, and never sent
//	P2  altered          stored with other bytes, another key, or in another partition than the key's
//	P3  refused, stored  a sending was refused, and it is stored
//	P4  reordered        acknowledged events of one stream and key, or events sent one after the other's answer,
//	                     are not in the order in which they were sent
//	P5  wrong position   the acknowledged position holds something else, or two sendings were given the same one
//	P6  doubled          stored more often than its sendings can explain, or at all twice where Rules forbid it
//	P2  contradiction    the gateway answered one sending twice, or an answer contradicts itself
//	P8  skipped          a subscriber did not receive what its start and filter promise, and was not told
//	P8  received again   a subscriber received an event twice, or after a later one of its partition
//	P11 vacuous          a run in which too little happened to show anything
//
// (P7, P9 and P10 of the test plan are about time, resources and metrics: package rig measures them and adds
// its findings with Verdict.Add.)
package ledger
