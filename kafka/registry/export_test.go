package registry

// Check is what the tests against a real registry share with those of this package.
var Check = check
