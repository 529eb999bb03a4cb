package translate

// AllField is an object of our own in the mapping of an index that holds no data:
// its members say what a 5.x application wrote of _all and include_in_all.
const AllField = "esperanto_all"
