package record

// What the tests in record_test need of the inside.
var (
	CleanTempUnlocked = cleanTemp
	IsTemp            = isTemp
	ParseManifest     = parseManifest
	ParseInfo         = parseInfo
	StepDir           = stepDir
	ParseStep         = parseStep
	QuarantineDir     = quarantine
)
