// Package serve shows runs while they train: a page of each grid with its cells coloured by state, curves and figures as far
// as there is anything to draw, and of each run its numbers, its curves and the end of its log.
//
// It reads run folders and writes nothing. Everything a page needs comes from this program; a page asks again every few
// seconds. Names in addresses are only ever looked up among the runs that were found, never made into paths.
//
// A browser may be made to ask a server on its own machine by any page that it shows. So only GET and HEAD are answered, only
// under an address that no foreign name server can point here ([Handler] says which), and the pages may load nothing else.
package serve
